"""Replaying stored episodes: the actions prove the returns, the observations prove the budget and the actions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from adversarial.errors import DataError
from adversarial.inputs import Inputs
from adversarial.victims import Victim, ask
from tasks.measuring.environments import Environment, Episodes, episode_id
from tasks.measuring.protocol import Rescored, Trial
from tasks.measuring.rescoring import check_names, tensor_of
from tasks.measuring.rollouts import space_of, steps_allowed


def replay(environment: Environment, victim: Victim, trial: Trial, evidence: Mapping[str, Tensor]) -> Rescored:
    """Steps real episodes by the actions that the victim takes on the stored observations.

    An episode is over its budget where an observation is too far from the true one, too many steps are disturbed, the
    stored action is not the victim's, or the stored episode does not end where the real one does. Raises DataError for
    tensors of other shapes.
    """
    if trial.threat is None:
        raise DataError("a clean pass has no adversarial examples")
    check_names(evidence, ("observations", "actions"))
    chosen = environment.seeds(trial.split)[: trial.limit]
    seen = tensor_of(evidence, "observations", torch.float32)
    acted = tensor_of(evidence, "actions", torch.int64)
    steps, count, size, most = len(acted), len(chosen), environment.size, environment.max_steps
    if acted.shape != (steps, count) or seen.shape != (steps, count, size) or steps > most:
        raise DataError(
            f"expected observations [steps, {count}, {size}] and actions [steps, {count}] of at most {most} steps, "
            f"got {list(seen.shape)} and {list(acted.shape)}"
        )
    episodes = Episodes(environment, chosen)
    over = torch.zeros(count, dtype=torch.bool)
    distances = torch.zeros(count, dtype=torch.float64)
    disturbed = torch.zeros(count, dtype=torch.int64)
    for step in range(steps):
        slots = torch.from_numpy(episodes.slots)
        if not len(slots):
            break
        true = Inputs(torch.from_numpy(episodes.observe()).to(trial.device))
        space = space_of(environment, true, trial.threat)
        shown = Inputs(seen[step, slots].to(trial.device))
        distance = space.distance(shown)
        beyond = ~(distance <= space.radius.to(torch.float64) + space.tolerance())
        actions = ask(victim, shown).values.argmax(1)
        over[slots] |= (beyond | (actions != acted[step, slots].to(actions.device))).cpu()
        distances[slots] = distances[slots].maximum(distance.cpu())
        disturbed[slots] += (distance > 0).cpu()
        episodes.step(actions.cpu().numpy().astype(np.int64))
    if steps < most:
        over[torch.from_numpy(episodes.slots)] = True  # the evidence ends before the episode does
    over |= disturbed > steps_allowed(environment, trial.threat)
    return Rescored(
        ids=tuple(episode_id(seed) for seed in chosen),
        values=tuple(float(value) for value in episodes.returns.tolist()),
        weights=(1.0,) * count,
        distances=tuple(float(value) for value in distances.tolist()),
        over=tuple(bool(flag) for flag in over.tolist()),
    )
