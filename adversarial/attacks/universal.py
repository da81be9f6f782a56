"""Universal perturbation, Moosavi-Dezfooli et al. 2016, https://arxiv.org/abs/1610.08401, by stochastic ascent on
mini-batches, Shafahi et al. 2018, https://arxiv.org/abs/1811.11304."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from adversarial.attacks.pgd import of_unit_mean
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.problem import Problem
from adversarial.spaces.kinds import bounded


def universal(
    problems: Callable[[], Iterator[Problem]], *, epochs: int = 10, loss: str = "ce", momentum: float = 0.7
) -> Callable[[Problem], None]:
    """Learns one perturbation for all inputs on the batches of `problems`, and gives the attack that submits it.

    What is learned is one slope, the gathered gradients of all rows. Each row takes the steepest step along it from its
    clean input to the edge of its own budget. In linf that is the same tensor everywhere; where features share a
    budget, the same direction at the size that a row's own budget, length and input range leave it. The slope is cut
    where a row is shorter, and repeated where one is longer than all that were seen. momentum: how much of the slope
    each batch keeps; each of its rows adds a gradient of unit mean. After every epoch the slope is measured, and the
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
    for _ in range(epochs):
        for problem in problems():
            slope = _long_enough(slope, problem)
            gradient = problem.gradient(_step(problem, slope), loss).values
            live = problem.inputs.mask
            if live is not None:
                gradient = gradient * live.reshape(*live.shape, *[1] * (gradient.ndim - live.ndim))
            slope = momentum * slope
            slope[: gradient.shape[1]] += of_unit_mean(gradient).sum(0)
        if slope is None:
            raise NotApplicable("there is nothing to learn on: the fit split is empty")
        worth = _worth(problems(), slope, loss)
        if worth > most:
            best, most = slope, worth
    assert best is not None
    learned = best

    def attack(problem: Problem) -> None:
        problem.submit(_step(problem, learned))

    return attack


def _step(problem: Problem, slope: Tensor) -> Tensor:
    """Each row's perturbation: its budget spent along the slope."""
    space = bounded(problem.space)
    null = space.null()
    return space.step(null, _of_length(slope, null.shape[1:]).expand_as(null), space.radius)


def _of_length(slope: Tensor, shape: torch.Size) -> Tensor:
    if slope.shape[1:] != shape[1:]:
        raise NotApplicable(
            f"one perturbation was learned for inputs of {list(slope.shape)}, and here is {list(shape)}"
        )
    times = -(-shape[0] // len(slope))
    return slope.repeat(times, *[1] * (slope.ndim - 1))[: shape[0]]


def _long_enough(slope: Tensor | None, problem: Problem) -> Tensor:
    """The slope with a place for each position of this batch."""
    null = problem.space.null()[0]
    if slope is None:
        return null
    return slope if len(slope) >= len(null) else torch.cat([slope, null[len(slope) :]])


def _worth(problems: Iterator[Problem], slope: Tensor, loss: str) -> tuple[int, float]:
    """Rows fooled, and the sum of the losses."""
    fooled, losses = 0, 0.0
    for problem in problems:
        found = problem.evaluate(_step(problem, slope), loss)
        assert found.loss is not None
        fooled += int(found.success.sum())
        losses += float(found.loss.sum(dtype=torch.float64))
    return fooled, losses
