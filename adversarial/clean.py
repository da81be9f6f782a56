"""What the victim says of the undisturbed inputs, for attacks that plan by it: which classes are likeliest, which
symbols stand in which frame. It costs a query a row like any other answer."""

from __future__ import annotations

from adversarial.errors import AccessDenied
from adversarial.goals import RelativeGoal
from adversarial.inputs import Scores, joined
from adversarial.problem import Problem


def clean_scores(problem: Problem) -> Scores:
    """The victim's answers to the undisturbed inputs.

    Rows that succeed as they are are noted, and no loss is: a row whose search starts from a lower loss of another kind
    would keep its undisturbed input as its best.

    Raises AccessDenied where the threat shows no scores, and what Problem.evaluate raises.
    """
    parts = []
    for view in problem.batches():
        scores = view.evaluate(view.space.null(), loss=None).scores
        if scores is None:
            raise AccessDenied(f"{problem.threat} shows no scores; expected access 'gradient' or 'scores'")
        parts.append(scores)
    return joined(parts)


def knowing_clean_scores(problem: Problem, loss: str) -> Problem:
    """The same rows with a goal that knows the victim's answers to the undisturbed inputs, if the loss compares with
    them. Any other loss asks nothing, and the problem is returned as it is."""
    goal = problem.goal
    if not isinstance(goal, RelativeGoal) or loss not in goal.relative_losses:
        return problem
    return problem.wanting(goal.relative_to(clean_scores(problem)))
