"""Fast gradient (sign) method, Goodfellow et al. 2014, https://arxiv.org/abs/1412.6572."""

from __future__ import annotations

from adversarial.problem import Problem, bounded


def fgsm(problem: Problem, *, loss: str = "ce") -> None:
    """One steepest step from the clean input to the edge of the budget, submitted unseen.

    In linf the step is the gradient's sign, in l2 its direction. One forward and one backward.
    """
    space = bounded(problem.space)
    gradient = problem.gradient(space.null(), loss)
    length = space.radius.reshape(-1, *[1] * (gradient.values.ndim - 1))
    problem.submit(space.project(length * space.steepest(gradient.values)))
