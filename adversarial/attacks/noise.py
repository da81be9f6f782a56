"""Random noise of the budget's size: the baseline that every gradient attack must beat."""

from __future__ import annotations

from adversarial.entries import AttackEntry
from adversarial.problem import Problem


ENTRIES = (
    AttackEntry(
        name="noise",
        code="adversarial.attacks.noise:noise",
        summary="random noise of the budget's size",
        access="none",
    ),
)


def noise(problem: Problem, *, distribution: str = "uniform") -> None:
    """Submits one random perturbation a row, unseen by the victim.

    distribution: `uniform` in the ball, `gaussian`, or `sign` (every feature at plus or minus its largest value).
    Among word candidates all three are a uniform choice. Raises InvalidOption for another name.
    """
    problem.submit(problem.space.sample(problem.keys.fold("noise"), distribution))
