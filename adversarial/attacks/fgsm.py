"""Fast gradient (sign) method, Goodfellow et al. 2014, https://arxiv.org/abs/1412.6572."""

from __future__ import annotations

from adversarial.entries import AttackEntry
from adversarial.problem import Problem
from adversarial.spaces.kinds import bounded, continuous


ENTRIES = (
    AttackEntry(
        name="fgsm",
        code="adversarial.attacks.fgsm:fgsm",
        summary="one step along the gradient",
        access="gradient",
        needs=frozenset({"steps"}),
        paper="https://arxiv.org/abs/1412.6572",
    ),
)


def fgsm(problem: Problem, *, loss: str = "ce") -> None:
    """One steepest step from the clean input to the edge of the budget, submitted unseen.

    In linf the step is the gradient's sign, in l2 its direction. One forward and one backward.
    """
    bounded(problem.space)
    for view in problem.batches():
        space = continuous(view.space)
        gradient = view.gradient(space.null(), loss)
        view.submit(space.step(space.null(), gradient.values, space.radius))
