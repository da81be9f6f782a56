"""An episode is that of gymnasium.make, and no other slot changes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.control.cartpole import CARTPOLE
from tasks.measuring.environments import Episodes


SEEDS = (1000, 1007, 2003, 5)


def policy(seed: int, step: int, observation: NDArray[np.float32]) -> int:
    """Balances for as long as a seed's own patience lasts, then pushes to the right."""
    if step > 40 + 150 * (seed % 4):
        return 1
    return int(observation[2] + 0.3 * observation[3] + 0.05 * observation[0] + 0.1 * observation[1] > 0)


def alone(seed: int) -> tuple[float, list[bytes]]:
    """Return and observations of the ordinary single environment."""
    environment: Any = gymnasium.make(CARTPOLE.name)
    observation, _ = environment.reset(seed=seed)
    total, seen, done = 0.0, [], False
    while not done:
        seen.append(observation.tobytes())
        action = policy(seed, len(seen) - 1, observation)
        observation, reward, terminated, truncated, _ = environment.step(action)
        total, done = total + float(reward), terminated or truncated
    environment.close()
    return total, seen


def together(seeds: Sequence[int]) -> list[tuple[float, list[bytes]]]:
    episodes, step = Episodes(CARTPOLE, seeds), 0
    seen: list[list[bytes]] = [[] for _ in seeds]
    while episodes.running.any():
        observations = episodes.observe()
        assert observations.dtype == np.float32
        assert observations.shape == (len(episodes.slots), 4)
        for slot, row in zip(episodes.slots, observations, strict=True):
            seen[slot].append(row.tobytes())
        actions = [policy(seeds[s], step, row) for s, row in zip(episodes.slots, observations, strict=True)]
        episodes.step(np.array(actions, dtype=np.int64))
        step += 1
    return list(zip(episodes.returns.tolist(), seen, strict=True))


@pytest.fixture(scope="module")
def singles() -> dict[int, tuple[float, list[bytes]]]:
    return {seed: alone(seed) for seed in SEEDS}


def test_returns_and_trajectories_equal_the_single_environment(singles: dict[int, Any]) -> None:
    lengths = {singles[seed][0] for seed in SEEDS}
    assert len(lengths) == len(SEEDS)  # the slots finish at different times
    assert max(lengths) == CARTPOLE.max_steps
    assert together(SEEDS) == [singles[seed] for seed in SEEDS]


@pytest.mark.parametrize("seeds", [SEEDS[::-1], SEEDS[1:2], (77, *SEEDS[:2], 78, 79, *SEEDS[2:])], ids=len)
def test_neither_order_nor_number_of_slots_changes_an_episode(singles: dict[int, Any], seeds: tuple[int, ...]) -> None:
    found = dict(zip(seeds, together(seeds), strict=True))
    assert all(found[seed] == singles[seed] for seed in SEEDS if seed in found)


def test_a_finished_slot_never_plays_again() -> None:
    episodes = Episodes(CARTPOLE, range(8))
    while episodes.running.any():
        episodes.step(np.ones(len(episodes.slots), dtype=np.int64))
    returns = episodes.returns.copy()
    assert returns.max() < 20
    assert episodes.observe().shape == (0, 4)
    for _ in range(30):
        episodes.step(np.ones(0, dtype=np.int64))
    assert (episodes.returns == returns).all()


def drawn() -> str:
    """The state of numpy's global generator."""
    return repr(np.random.get_state(legacy=True))


def test_initial_states_ignore_the_global_generator() -> None:
    np.random.seed(0)
    before = drawn()
    first = Episodes(CARTPOLE, SEEDS).observe()
    assert drawn() == before
    np.random.seed(1)
    assert (Episodes(CARTPOLE, SEEDS).observe() == first).all()
