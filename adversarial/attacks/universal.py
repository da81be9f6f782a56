"""Universal perturbation, Moosavi-Dezfooli et al. 2016, https://arxiv.org/abs/1610.08401, by stochastic ascent on
mini-batches, Shafahi et al. 2018, https://arxiv.org/abs/1811.11304."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from adversarial.attacks.pgd import of_unit_mean
from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.problem import Problem
from adversarial.spaces.kinds import bounded


ENTRIES = (
    AttackEntry(
        name="universal",
        code="adversarial.attacks.universal:universal",
        summary="one perturbation for all inputs, learned on other examples",
        access="gradient",
        needs=frozenset({"steps"}),
        paper="https://arxiv.org/abs/1610.08401",
        stage="fit",
    ),
)


def universal(
    problems: Callable[[], Iterator[Problem]], *, epochs: int = 10, loss: str = "ce", momentum: float = 0.7
) -> Callable[[Problem], None]:
    """Learns one perturbation for all inputs on the batches of `problems`, and gives the attack that submits it.

    What is learned is one slope, the gathered gradients of all rows. The perturbation is the steepest step along it, of
    the budget's size; each row gets it cut off where its input range ends, and, under a signal-to-noise ratio, at the
    size of its own budget. In L1 the budget goes to the steepest features, each as far as it may move on average. The
    slope is cut where a row is shorter, and repeated where one is longer than all that were seen. momentum: how much of
    it each batch keeps; each of its rows adds a gradient of unit mean. After every epoch the slope is measured, and the
    one that fools most rows is kept, among equals that of the highest loss. An epoch costs two forwards and a backward
    a row; the attack itself asks nothing.
    """
    if epochs < 1:
        raise InvalidOption(f"epochs must be at least 1, got {epochs}")
    if not 0 <= momentum <= 1:
        raise InvalidOption(f"momentum must be in [0, 1], got {momentum}")
    slope: Tensor | None = None
    best: Tensor | None = None
    most = (-1, -torch.inf)
    room = _Room()
    for problem in problems():
        room.see(problem)
    for _ in range(epochs):
        for problem in problems():
            slope = _long_enough(slope, problem.space.null()[0])
            gradient = problem.gradient(_step(problem, slope, room), loss).values
            live = problem.inputs.mask
            if live is not None:
                gradient = gradient * live.reshape(*live.shape, *[1] * (gradient.ndim - live.ndim))
            slope = momentum * slope
            slope[: gradient.shape[1]] += of_unit_mean(problem, gradient).sum(0)
        if slope is None:
            raise NotApplicable("there is nothing to learn on: the fit split is empty")
        worth = _worth(problems(), slope, room, loss)
        if worth > most:
            best, most = slope, worth
    assert best is not None
    learned = best

    def attack(problem: Problem) -> None:
        problem.submit(_step(problem, learned, room))

    return attack


class _Room:
    """How far each feature may move upwards and downwards, on average over the rows that were seen; of spaces whose
    steepest step is a single feature, which may have room for little of the budget."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None

    def see(self, problem: Problem) -> None:
        bounds = bounded(problem.space).bounds()
        if bounds is None or not bounded(problem.space).sparse:
            return
        ones = torch.ones_like(bounds[0]) if problem.inputs.mask is None else problem.inputs.mask.to(bounds[0].dtype)
        ones = ones.reshape(*ones.shape, *[1] * (bounds[0].ndim - ones.ndim)).expand_as(bounds[0])
        seen = torch.stack([(part * ones).sum(0, dtype=torch.float64) for part in (-bounds[0], bounds[1], ones)], 1)
        before = _long_enough(self._sums, seen)
        before[: len(seen)] += seen
        self._sums = before

    def along(self, slope: Tensor) -> Tensor:
        """In the direction of a slope [positions, ...], shaped like it."""
        assert self._sums is not None
        down, up, count = _of_length(self._sums, torch.Size((len(slope), *self._sums.shape[1:]))).unbind(1)
        return (torch.where(slope > 0, up, down) / count.clamp(min=1)).to(slope.dtype)


def _step(problem: Problem, slope: Tensor, room: _Room) -> Tensor:
    """Each row's perturbation: one vector of the budget's size along the slope, cut off where the row's range ends.

    What is cut off one feature is not handed to others, or it would be another perturbation for each row.
    """
    space = bounded(problem.space)
    null = space.null()
    own = _of_length(slope, null.shape[1:])
    along = own.expand_as(null)
    bounds = space.bounds()
    if bounds is None:
        return space.step(null, along, space.radius)
    low, high = bounds
    if space.sparse:
        vector = _spread(along, room.along(own).expand_as(null), space.radius)
    else:
        vector = space.radius.reshape(-1, *[1] * (null.ndim - 1)) * space.steepest(along)
    return space.project(torch.clamp(vector, low, high))


def _spread(slope: Tensor, room: Tensor, length: Tensor) -> Tensor:
    """An L1 budget spent on the steepest features, each as far as it has room."""
    rows, width = slope.flatten(1), room.flatten(1)
    order = rows.abs().argsort(dim=1, descending=True, stable=True)
    free = torch.where(rows == 0, 0.0, width).gather(1, order)
    moved = torch.minimum(free, (length[:, None] - (free.cumsum(1) - free)).clamp(min=0))
    return (torch.zeros_like(moved).scatter(1, order, moved) * rows.sign()).reshape(slope.shape)


def _of_length(slope: Tensor, shape: torch.Size) -> Tensor:
    if slope.shape[1:] != shape[1:]:
        raise NotApplicable(
            f"one perturbation was learned for inputs of {list(slope.shape)}, and here is {list(shape)}"
        )
    times = -(-shape[0] // len(slope))
    return slope.repeat(times, *[1] * (slope.ndim - 1))[: shape[0]]


def _long_enough(slope: Tensor | None, like: Tensor) -> Tensor:
    """The slope with a place for each position of `like`, zero where it had none."""
    if slope is None:
        return torch.zeros_like(like)
    return slope if len(slope) >= len(like) else torch.cat([slope, torch.zeros_like(like[len(slope) :])])


def _worth(problems: Iterator[Problem], slope: Tensor, room: _Room, loss: str) -> tuple[int, float]:
    """Rows fooled, and the sum of the losses."""
    fooled, losses = 0, 0.0
    for problem in problems:
        found = problem.evaluate(_step(problem, slope, room), loss)
        assert found.loss is not None
        fooled += int(found.success.sum())
        losses += float(found.loss.sum(dtype=torch.float64))
    return fooled, losses
