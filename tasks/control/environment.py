"""CartPole, vectorised, with exactly one episode a slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tasks.control.dataset import ENVIRONMENT


class Episodes:
    """One episode for each seed, stepped together; a finished one leaves the batch and never starts again.

    An episode is the same, byte for byte, as that of `gymnasium.make` with its seed and the same actions, whatever
    the other slots hold: the initial states are written into Gymnasium's vector environment, which would draw all
    of them from one seed, and its dynamics are elementwise. The episodes that it starts by itself in finished slots
    are never looked at, so that no score is biased towards short episodes.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._environment = make_vector(len(seeds))
        self._environment.reset(seed=0)  # for the episodes that nobody looks at
        self._environment.state = initial_states(seeds).T.copy()
        self._observations: NDArray[np.float32] = self._environment.state.T.astype(np.float32)
        self.running = np.ones(len(seeds), dtype=np.bool_)
        self.returns = np.zeros(len(seeds), dtype=np.float64)

    def __len__(self) -> int:
        return len(self.running)

    @property
    def slots(self) -> NDArray[np.int64]:
        """The slots of the running episodes, ascending; int64 [running]."""
        return np.flatnonzero(self.running)

    def observe(self) -> NDArray[np.float32]:
        """The true observations of the running episodes: float32 [running, 4]."""
        return self._observations[self.running]

    def step(self, actions: NDArray[np.int64]) -> None:
        """Takes one action in each running episode; int64 [running]."""
        everywhere = np.zeros(len(self), dtype=np.int64)
        everywhere[self.running] = actions
        self._observations, rewards, terminated, truncated, _ = self._environment.step(everywhere)
        self.returns[self.running] += rewards[self.running]
        self.running = self.running & ~(terminated | truncated)


def make_vector(slots: int) -> Any:
    """Gymnasium's own vectorised CartPole."""
    return gymnasium.make_vec(ENVIRONMENT, num_envs=slots, vectorization_mode="vector_entry_point").unwrapped


def initial_states(seeds: Sequence[int]) -> NDArray[np.float64]:
    """The states that single environments draw on reset, float64 [seeds, 4]."""
    environment: Any = gymnasium.make(ENVIRONMENT).unwrapped
    states = np.empty((len(seeds), 4), dtype=np.float64)
    for row, seed in enumerate(seeds):
        environment.reset(seed=seed)
        states[row] = environment.state
    return states
