"""No attack: the clean pass, as a cell like any other."""

from __future__ import annotations

from adversarial.entries import AttackEntry
from adversarial.problem import Problem


ENTRIES = (
    AttackEntry(
        name="none",
        code="adversarial.attacks.none:none",
        summary="the clean pass",
        access="none",
    ),
)


def none(problem: Problem) -> None:
    """Submits the perturbation that changes nothing."""
    problem.submit(problem.space.null())
