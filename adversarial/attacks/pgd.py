"""Projected gradient descent, Madry et al. 2017, https://arxiv.org/abs/1706.06083; without the random start it is
the basic iterative method (I-FGSM), Kurakin et al. 2016, https://arxiv.org/abs/1607.02533, and with momentum the
momentum iterative method, Dong et al. 2017, https://arxiv.org/abs/1710.06081."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from adversarial.clean import knowing_clean_scores
from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption
from adversarial.problem import Problem
from adversarial.search import State, search
from adversarial.spaces.kinds import bounded, continuous


ENTRIES = (
    AttackEntry(
        name="pgd",
        code="adversarial.attacks.pgd:pgd",
        summary="projected gradient ascent with random starts",
        access="gradient",
        needs=frozenset({"steps"}),
        paper="https://arxiv.org/abs/1706.06083",
    ),
    AttackEntry(
        name="bim",
        code="adversarial.attacks.pgd:pgd",
        summary="the basic iterative method (I-FGSM): gradient steps from the clean input",
        access="gradient",
        needs=frozenset({"steps"}),
        paper="https://arxiv.org/abs/1607.02533",
        params={"steps": 10, "random_start": False},
    ),
    AttackEntry(
        name="mi-fgsm",
        code="adversarial.attacks.pgd:pgd",
        summary="the momentum iterative method: gradient steps along a gathered direction",
        access="gradient",
        needs=frozenset({"steps"}),
        paper="https://arxiv.org/abs/1710.06081",
        params={"steps": 10, "random_start": False, "momentum": 1.0},
    ),
)


def pgd(
    problem: Problem,
    *,
    steps: int = 40,
    relative_step: float | None = None,
    random_start: bool = True,
    restarts: int = 1,
    loss: str = "ce",
    momentum: float = 0.0,
) -> None:
    """Steepest ascent inside the ball, restarts side by side; a row leaves with all its restarts when it is done.

    relative_step: step size as a share of the radius; by default 2.5 / steps and at most 1, which crosses the
    ball in two steps or more. momentum: how much of the gathered direction each step keeps, in [0, 1]; gradients
    enter it at an L1 norm of 1. Each restart costs steps + 1 forwards and steps backwards a row. The loss is ascended
    from the start, and the best point of the whole path counts, not the last.
    """
    if steps < 1 or restarts < 1:
        raise InvalidOption(f"steps and restarts must be at least 1, got {steps} and {restarts}")
    if relative_step is not None and not relative_step > 0:
        raise InvalidOption(f"relative_step must be above 0, got {relative_step}")
    if not 0 <= momentum <= 1:
        raise InvalidOption(f"momentum must be in [0, 1], got {momentum}")
    bounded(problem.space)
    problem = knowing_clean_scores(problem, loss)
    share = min(1.0, 2.5 / steps) if relative_step is None else relative_step

    def start(view: Problem, member: Tensor) -> State:
        keys = view.keys.fold_each("pgd", numbers=member)
        d = view.space.sample(keys) if random_start else view.space.null()
        state = {"d": d, "left": torch.full_like(member, steps)}
        return {**state, "direction": torch.zeros_like(d)} if momentum else state

    def step(view: Problem, state: State) -> tuple[State, Tensor]:
        space = continuous(view.space)
        gradient = view.gradient(state["d"], loss).values
        left = state["left"] - 1
        following = {"left": left}
        if momentum:
            gradient = following["direction"] = momentum * state["direction"] + of_unit_mean(view, gradient)
        following["d"] = d = space.step(state["d"], gradient, share * space.radius)
        going = left > 0
        if not bool(going.all()):
            last = ~going & view.alive()
            if bool(last.all()):
                view.evaluate(d, loss)
            elif bool(last.any()):
                view.take(last).evaluate(d[last], loss)
        return following, going

    search(problem, start, step, restarts)


def of_unit_mean(problem: Problem, gradient: Tensor) -> Tensor:
    """Each row over its mean absolute entry: gradients of different steps then weigh the same in a sum.

    Padding is no entry, and the sum is one of float64: neither how much of it a row has, nor its place, shows.
    """
    size = gradient.flatten(1).abs().sum(1, dtype=torch.float64) / features_of(problem)
    size = size.to(gradient.dtype).reshape(-1, *[1] * (gradient.ndim - 1))
    return gradient / torch.where(size > 0, size, 1.0)


def features_of(problem: Problem) -> Tensor:
    """How many features each row has without its padding, int64 [batch]."""
    values, mask = problem.inputs.values, problem.inputs.mask
    if mask is None:
        return torch.full((len(values),), values[0].numel() if len(values) else 1, device=values.device)
    return (mask.sum(1) * math.prod(values.shape[2:])).clamp(min=1)
