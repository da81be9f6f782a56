"""Projected gradient descent, Madry et al. 2017, https://arxiv.org/abs/1706.06083; without the random start it is
the basic iterative method (I-FGSM), Kurakin et al. 2016, https://arxiv.org/abs/1607.02533."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.errors import InvalidOption
from adversarial.problem import Problem, bounded, continuous


def pgd(
    problem: Problem,
    *,
    steps: int = 40,
    relative_step: float | None = None,
    random_start: bool = True,
    restarts: int = 1,
    loss: str = "ce",
) -> None:
    """Steepest ascent inside the ball; each restart runs on the rows that no earlier one has finished.

    relative_step: step size as a share of the radius; by default 2.5 / steps and at most 1, which crosses the
    ball in two steps or more. Each restart costs steps + 1 forwards and steps backwards a row; rows leave when they
    are done. The loss is ascended from the start, and the best point of the whole path counts, not the last.
    """
    if steps < 1 or restarts < 1:
        raise InvalidOption(f"steps and restarts must be at least 1, got {steps} and {restarts}")
    if relative_step is not None and not relative_step > 0:
        raise InvalidOption(f"relative_step must be above 0, got {relative_step}")
    bounded(problem.space)
    share = min(1.0, 2.5 / steps) if relative_step is None else relative_step
    for restart in range(restarts):
        alive = problem.alive()
        if not bool(alive.any()):
            return
        view = problem if bool(alive.all()) else problem.take(alive)
        start = view.space.null()
        if random_start:
            start = view.space.sample(view.keys.fold("pgd", restart))
        _ascend(view, start, steps, share, loss)


def _ascend(problem: Problem, d: Tensor, steps: int, share: float, loss: str) -> None:
    space = continuous(problem.space)
    for _ in range(steps):
        gradient = problem.gradient(d, loss)
        length = (share * space.radius).reshape(-1, *[1] * (d.ndim - 1))
        d = space.project(d + length * space.steepest(gradient.values, d))
        alive = problem.alive()
        if not bool(alive.all()):
            if not bool(alive.any()):
                return
            rows = alive.nonzero().squeeze(1)
            problem, d = problem.take(rows), torch.index_select(d, 0, rows)
            space = continuous(problem.space)
    problem.evaluate(d, loss)
