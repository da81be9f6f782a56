"""An environment as rollouts, replays, fits and training know it: one object, whatever is played. Imports no torch."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from adversarial.errors import UnknownName
from leaderboard.records.metric import Metric


Observations = NDArray[np.float32]  # [slots, numbers]


class Vector(Protocol):
    """Environments that are stepped together, as Gymnasium's vector environments are.

    A slot whose episode has ended ignores the next action and starts another one (Gymnasium's `NEXT_STEP`).
    """

    def reset(self, *, seed: int) -> tuple[Observations, dict[str, Any]]:
        """Starts an episode in each slot, all drawn from one seed."""

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observations, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Observations, rewards, whether an episode ended by its own rules, whether it was cut off; a row a slot."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Everything that is fixed about an environment with numbers to see and a choice among actions.

    An example is an initial seed. name: what it is called, and its id where Gymnasium has it. numbers: what an agent
    sees, a label with its unit each. scale: one unit of an observation budget, a positive number each. low, high:
    between which real observations lie; None where they are open. actions: how many there are, counted from 0.
    max_steps: of an episode. splits: the initial seeds by split. random_return, reference_return: of coin flips and of
    a reference policy over the test seeds; either may be negative, the reference's is the higher. make_vector: that
    many slots. start: puts each slot of a vector at the state that its seed draws, and gives what is seen there.
    libraries: whose versions change an episode.
    """

    name: str
    numbers: tuple[str, ...]
    scale: tuple[float, ...]
    actions: int
    max_steps: int
    splits: Mapping[str, tuple[int, ...]]
    random_return: float
    reference_return: float
    make_vector: Callable[[int], Vector]
    start: Callable[[Any, Sequence[int]], Observations]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    libraries: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many numbers an agent sees."""
        return len(self.scale)

    @property
    def metric(self) -> Metric:
        return Metric("return", floor=self.random_return, ceiling=self.reference_return)

    def ids(self, split: str) -> tuple[str, ...]:
        """The names of a split's examples: `episode-1003`; raises UnknownName."""
        return tuple(episode_id(seed) for seed in self.seeds(split))

    def seeds(self, split: str) -> tuple[int, ...]:
        """The initial seeds of a split; raises UnknownName."""
        if split not in self.splits:
            raise UnknownName.among("split", split, self.splits)
        return self.splits[split]

    def data_hash(self, split: str) -> str:
        """SHA-256 of all that decides a split's episodes and how they are scored; raises UnknownName."""
        ranges = {"low": self.low, "high": self.high}
        facts = {
            "environment": self.name,
            "max_steps": self.max_steps,
            "metric": {"floor": self.random_return, "ceiling": self.reference_return},
            "scale": list(self.scale),
            "seeds": list(self.seeds(split)),
            "split": split,
            **{name: importlib.metadata.version(name) for name in self.libraries},
            **{name: list(ends) for name, ends in ranges.items() if ends is not None},
        }
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def episode_id(seed: int) -> str:
    """The name of an example: `episode-1003`."""
    return f"episode-{seed}"


class Episodes:
    """One episode for each seed, stepped together; a finished one leaves the batch and never starts again.

    An episode is the same, byte for byte, whatever the other slots hold. The episodes that a vector starts by itself
    in finished slots are never looked at, so that no score is biased towards short episodes. running: bool [seeds].
    returns: float64 [seeds], of any sign. lengths: int64 [seeds], steps taken.
    """

    def __init__(self, environment: Environment, seeds: Sequence[int]) -> None:
        self._vector = environment.make_vector(len(seeds))
        self._observations = environment.start(self._vector, seeds)
        self.running = np.ones(len(seeds), dtype=np.bool_)
        self.returns = np.zeros(len(seeds), dtype=np.float64)
        self.lengths = np.zeros(len(seeds), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.running)

    @property
    def slots(self) -> NDArray[np.int64]:
        """The slots of the running episodes, ascending; int64 [running]."""
        return np.flatnonzero(self.running)

    def observe(self) -> Observations:
        """The true observations of the running episodes: float32 [running, numbers]."""
        return self._observations[self.running]

    def step(self, actions: NDArray[np.int64]) -> None:
        """Takes one action in each running episode; int64 [running]."""
        everywhere = np.zeros(len(self), dtype=np.int64)
        everywhere[self.running] = actions
        self._observations, rewards, terminated, truncated, _ = self._vector.step(everywhere)
        self.returns[self.running] += rewards[self.running]
        self.lengths += self.running
        self.running = self.running & ~(terminated | truncated)
