"""One wanted action at every step of an episode, the constant rule of targeted attacks on policies, Lin et al. 2017
(Tactics of adversarial attack on deep reinforcement learning agents), https://arxiv.org/abs/1703.06748."""

from __future__ import annotations

from adversarial.attacks.pgd import pgd
from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.goals import Flip
from adversarial.problem import Problem


ENTRIES = (
    AttackEntry(
        name="force",
        code="adversarial.attacks.force:force",
        summary="one wanted action at every step of an episode",
        access="gradient",
        needs=frozenset({"steps", "episodes"}),
        paper="https://arxiv.org/abs/1703.06748",
    ),
)


def force(
    problem: Problem, *, action: int = 0, steps: int = 10, relative_step: float | None = None, restarts: int = 1
) -> None:
    """Pushes each decision that is not `action` towards it, by pgd on the margin; one that is already stays untouched.

    Flips of each step on its own alternate and cancel: pushed left and right in turn, an agent stands still. The same
    action at every step adds up. Which action does most harm the attack does not know: a trial for each, and an
    episode counts with its worst. Costs what pgd costs, for the rows that decide otherwise. Raises NotApplicable where
    there is no decision among classes, or none so many.
    """
    if not isinstance(problem.goal, Flip):
        raise NotApplicable("no decision among actions here: a given action can be forced only where there is one")
    if action < 0:
        raise InvalidOption(f"action must be the number of an action, at least 0, got {action}")
    others = problem.take(problem.goal.labels != action)
    if len(others):
        targets = problem.goal.labels.new_full((len(others),), action)
        aimed = others.wanting(Flip(others.goal.labels, targets, highest=action))  # type: ignore[attr-defined]
        pgd(aimed, steps=steps, relative_step=relative_step, restarts=restarts, loss="margin")
