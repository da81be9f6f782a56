"""A second environment, whose rewards are negative and whose worst case is known: a walk on a line, home at 0.

Each step costs the distance from home that it ends at; home ends the walk, and so does the twelfth step. Seed 5 starts
at 5. An agent sees where it is, and which share of its steps is left. Actions: towards minus, stay, towards plus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adversarial.inputs import Inputs, Scores
from tasks.measuring.environments import Environment, Observations


STEPS = 12
WALL = 9  # nobody gets further


class Walks:
    """As Gymnasium's vectors: the step after an episode's last one starts another, whatever the action."""

    def __init__(self, slots: int) -> None:
        self.place, self.taken = np.zeros(slots), np.zeros(slots)
        self.over = np.zeros(slots, dtype=np.bool_)
        self._draw = np.random.default_rng(0)

    def reset(self, *, seed: int) -> tuple[Observations, dict[str, Any]]:
        self._draw = np.random.default_rng(seed)
        self._start(np.ones_like(self.over))
        return self.seen(), {}

    def step(self, actions: NDArray[np.int64]) -> tuple[Observations, Any, Any, Any, dict[str, Any]]:
        fresh = self.over
        self.place = np.where(fresh, self.place, np.clip(self.place + actions - 1, -WALL, WALL))
        self.taken += ~fresh
        rewards = np.where(fresh, 0.0, -np.abs(self.place))
        home, late = ~fresh & (self.place == 0), ~fresh & (self.taken >= STEPS)
        self._start(fresh)
        self.over = home | late
        return self.seen(), rewards, home, late & ~home, {}

    def seen(self) -> Observations:
        return np.stack([self.place, 1 - self.taken / STEPS], axis=1).astype(np.float32)

    def _start(self, slots: NDArray[np.bool_]) -> None:
        drawn = self._draw.integers(1, 7, len(slots)) * self._draw.choice([-1, 1], len(slots))
        self.place, self.taken = np.where(slots, drawn, self.place), np.where(slots, 0, self.taken)
        self.over = self.over & ~slots


def start(vector: Walks, seeds: Sequence[int]) -> Observations:
    vector.place = np.array(seeds, dtype=np.float64)
    return vector.seen()


WALK = Environment(
    name="Walk",
    numbers=("place (m)", "share of steps left (1)"),
    scale=(1.0, 0.5),
    actions=3,
    max_steps=STEPS,
    splits={"test": (-3, -1, 1, 2, 3, 5), "validation": (-4, 4, 6), "train": ()},
    random_return=-40.0,
    reference_return=-5.0,
    make_vector=Walks,
    start=start,
    low=(-WALL, 0.0),
    high=(WALL, 1.0),
)


class Homeward:
    """Linear, and right wherever it sees the truth: it stays where it sees itself closer to home than `rest`."""

    differentiable = True

    def __init__(self, rest: float = 0.5) -> None:
        self.rest = rest

    def __call__(self, inputs: Inputs) -> Scores:
        place = inputs.values[:, 0]
        return Scores(torch.stack([place, torch.full_like(place, self.rest), -place], dim=1))


def reachable(place: float, budget: float) -> tuple[int, ...]:
    """The actions of Homeward (rest 0.5) that some view within the budget leads to, in closed form."""
    low, high = max(place - budget, -WALL), min(place + budget, WALL)
    fits = (high > 0.5, high > -0.5 and low < 0.5, low < -0.5)
    return tuple(action for action, fit in enumerate(fits) if fit)


@cache
def worst(place: int, budget: float, left: int = STEPS) -> tuple[float, int]:
    """The least return that any attacker within the budget can leave, and the action that it then wants."""
    if left == 0:
        return 0.0, 0
    found = []
    for action in reachable(place, budget):
        after = int(np.clip(place + action - 1, -WALL, WALL))
        found.append((-abs(after) + (worst(after, budget, left - 1)[0] if after else 0.0), action))
    return min(found)


def worst_policy(budget: float) -> Callable[[Inputs, torch.Tensor], torch.Tensor]:
    """The optimal attacker's wish at each step."""
    return partial(_wish, budget)


def _wish(budget: float, inputs: Inputs, steps: torch.Tensor) -> torch.Tensor:
    pairs = zip(inputs.values[:, 0].tolist(), steps.tolist(), strict=True)
    return torch.tensor([worst(round(place), budget, STEPS - step)[1] for place, step in pairs])
