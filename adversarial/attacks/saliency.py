"""Saliency over words, Papernot et al. 2016, https://arxiv.org/abs/1604.08275: the idea of JSMA where features are
words."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.answers import Jacobian
from adversarial.entries import AttackEntry
from adversarial.errors import NotApplicable
from adversarial.goals import Flip
from adversarial.problem import Problem
from adversarial.search import State, search
from adversarial.spaces.kinds import discrete


ENTRIES = (
    AttackEntry(
        name="jsma-words",
        code="adversarial.attacks.saliency:saliency",
        summary="the most salient replacement, one word a gradient",
        access="gradient",
        needs=frozenset({"candidates"}),
        paper="https://arxiv.org/abs/1604.08275",
        minimum_norm=True,
    ),
)


def saliency(problem: Problem) -> None:
    """One word a gradient: of all replacements the one that, to first order, most raises the target's score and
    lowers all others' sum, until the row is done, the budget is spent or no replacement does both.

    A word is replaced once. Without a target each row heads for its runner-up class at the clean input, and any wrong
    class ends it. A word costs a forward and two backwards, and the last sentence a forward.
    """
    discrete(problem.space)
    aim = Aim(problem)

    def start(view: Problem, member: Tensor) -> State:
        d = view.space.null()
        left = view.space.radius.floor().clamp(max=float(d.shape[1])).to(torch.int64)
        return {"d": d, "left": left, "target": torch.full_like(member, -1)}

    def step(view: Problem, state: State) -> tuple[State, Tensor]:
        d, left = state["d"], state["left"]
        found, target = aim.jacobian(view, d, state["target"])
        alpha, beta = found.values
        salient = (alpha > 0) & (beta < 0) & (d == 0)[:, :, None]
        # The choice 0 keeps a word, and changes nothing.
        best, place = torch.where(salient, -alpha * beta, 0.0)[:, :, 1:].flatten(1).max(1)
        moving = (best > 0) & (left > 0) & ~found.success
        position, choice = place // (alpha.shape[2] - 1), place % (alpha.shape[2] - 1) + 1
        d = d.scatter_add(1, position[:, None], (choice * moving)[:, None])
        left = left - moving.to(torch.int64)
        ended = ask_last(view, d, moving & (left <= 0))
        return {"d": d, "left": left, "target": target}, moving & ~ended

    search(problem, start, step)


class Aim:
    """The class that each row heads for; raises NotApplicable where the goal decides no class."""

    def __init__(self, problem: Problem) -> None:
        if not isinstance(problem.goal, Flip):
            raise NotApplicable("no class decision here: saliency needs the score of a target class")

    def jacobian(self, view: Problem, d: Tensor, target: Tensor) -> tuple[Jacobian, Tensor]:
        """The gradients of the target's score and of the sum of all others, and the targets.

        target: int64 [batch], -1 where it is yet to be chosen: the goal's, or the runner-up.
        """
        goal, chosen = view.goal, target
        assert isinstance(goal, Flip)

        def target_and_others(scores: Tensor) -> Tensor:
            nonlocal chosen
            wanted = goal.targets
            if wanted is None:
                wanted = scores.detach().scatter(1, goal.labels[:, None], -torch.inf).argmax(1)
            chosen = torch.where(target < 0, wanted, target)
            own = scores.gather(1, chosen[:, None]).squeeze(1)
            return torch.stack([own, scores.sum(1) - own], 1)

        found = view.jacobian(d, target_and_others)
        return found, chosen


def ask_last(view: Problem, d: Tensor, last: Tensor) -> Tensor:
    """Asks for the points of rows that take no gradient after this one; gives `last` back, bool [batch]."""
    asking = (last & view.alive()).nonzero().squeeze(1)
    if len(asking):
        view.take(asking).evaluate(d.index_select(0, asking), "margin")
    return last
