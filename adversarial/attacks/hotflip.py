"""HotFlip, Ebrahimi et al. 2017, https://arxiv.org/abs/1712.06751: replace the word that gains most to first order."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.errors import InvalidOption
from adversarial.problem import Problem
from adversarial.spaces.kinds import discrete


def hotflip(problem: Problem, *, steps: int = 1, loss: str = "ce") -> None:
    """One step: one gradient, then the words with the largest gains, as many as the budget allows, at once (the FGSM
    of words). Several steps: one word a gradient, each gradient taken anew at the sentence reached so far; a
    sentence whose budget is used up goes on by exchanging its replacements where that gains.

    A sentence of one step costs one forward and one backward; of several steps, steps + 1 and steps.
    """
    if steps < 1:
        raise InvalidOption(f"steps must be at least 1, got {steps}")
    d = problem.space.null()
    if steps == 1:
        problem.submit(_flip(problem, d, loss, at_once=None))
        return
    for _ in range(steps):
        d = _flip(problem, d, loss, at_once=1)
        alive = problem.alive()
        if not bool(alive.all()):
            if not bool(alive.any()):
                return
            problem, d = problem.take(alive), d[alive]
    problem.evaluate(d, loss)


def _flip(problem: Problem, d: Tensor, loss: str, at_once: int | None) -> Tensor:
    """d with the most gainful replacements made, at most `at_once` more of them."""
    space = discrete(problem.space)
    gains = problem.gains(d, loss)
    free = (space.radius.floor() - (d != 0).sum(1)).clamp(min=0)
    # Undoing a replacement is a choice as well, but never one that this attack makes: it would run in circles.
    gains[:, :, 0] = torch.where(d == 0, gains[:, :, 0], -torch.inf)
    best, choice = gains.max(2)
    # Where nothing is left to spend, only words that are replaced already may change.
    allowed = (d != 0) | (free > 0)[:, None]
    best = torch.where(allowed & (choice != d), best, 0.0)
    limit = torch.where(free > 0, free, 1.0) if at_once is None else torch.full_like(free, float(at_once))
    order = best.argsort(dim=1, descending=True, stable=True).argsort(dim=1, stable=True)
    return space.project(torch.where((best > 0) & (order < limit[:, None]), choice, d))
