"""No attack: the clean pass, as a cell like any other."""

from __future__ import annotations

from adversarial.problem import Problem


def none(problem: Problem) -> None:
    """Submits the perturbation that changes nothing."""
    problem.submit(problem.space.null())
