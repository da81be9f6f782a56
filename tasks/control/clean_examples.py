"""True observations of attacked episodes, for pages: the environment is stepped with the stored actions. Imports no
torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np

from leaderboard.records.examples import Disturbed, Original
from leaderboard.records.record import Cell
from tasks.control.cartpole import CARTPOLE
from tasks.data import CustomData
from tasks.measuring.environments import Environment, Episodes, Observations, episode_id


def observed(
    environment: Environment,
    cell: Cell,
    disturbed: Mapping[str, Disturbed],
    data: CustomData | None = None,  # noqa: ARG001  (nobody brings episodes)
) -> Mapping[str, Original]:
    """Of the episodes whose actions are stored, by id."""
    seeds = {episode_id(seed): seed for seed in environment.seeds(cell.split)}
    names = [name for name, one in disturbed.items() if name in seeds and one.actions is not None]
    if not names:
        return {}
    episodes = Episodes(environment, [seeds[name] for name in names])
    acted = np.stack([np.asarray(disturbed[name].actions, dtype=np.int64) for name in names], axis=1)
    seen: list[list[Observations]] = [[] for _ in names]
    for actions in acted:
        slots = episodes.slots
        if not len(slots):
            break
        for slot, observation in zip(slots.tolist(), episodes.observe(), strict=True):
            seen[slot].append(observation)
        episodes.step(actions[slots])
    numbers = environment.numbers
    return {name: Original(np.stack(rows), names=numbers) for name, rows in zip(names, seen, strict=True) if rows}


clean_examples: Final = partial(observed, CARTPOLE)
