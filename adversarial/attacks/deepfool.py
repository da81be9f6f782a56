"""DeepFool, Moosavi-Dezfooli et al. 2015, https://arxiv.org/abs/1511.04599, in every norm with a steepest step."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.answers import Jacobian
from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.goals import Flip
from adversarial.losses import margin
from adversarial.problem import Problem
from adversarial.search import State, search
from adversarial.spaces.kinds import continuous
from adversarial.spaces.protocol import ContinuousSpace


ENTRIES = (
    AttackEntry(
        name="deepfool",
        code="adversarial.attacks.deepfool:deepfool",
        summary="steps to the nearest boundary of the victim made linear",
        access="gradient",
        needs=frozenset({"steps", "classes"}),
        paper="https://arxiv.org/abs/1511.04599",
        minimum_norm=True,
    ),
)


SHORTEST = 1e-6  # of a step, in the units of the norm: a row that stands on a boundary has to cross it


def deepfool(
    problem: Problem,
    *,
    steps: int = 50,
    overshoot: float = 0.02,
    first_step: float = 0.5,
    candidates: int | None = None,
) -> None:
    """Steps to the nearest boundary of the victim made linear, until it is crossed; a row stops at its first success.

    overshoot: the point looked at is the sum of the steps times 1 + overshoot. first_step: how much of its way the
    first step goes, in (0, 1]; 1 is the published algorithm. Features at a wall have no part in a step, so steps are
    long, and all of the first one would follow a gradient that is not the boundary's. candidates: how many wrong
    classes, the likeliest at the clean input, are considered; None means all. A goal of one class is reached by steps
    to the boundary between it and the likeliest other one. A step costs two forwards and a backward for each class
    considered: rows that a forward finds broken cost no backwards.
    """
    if steps < 1:
        raise InvalidOption(f"steps must be at least 1, got {steps}")
    if not overshoot >= 0:
        raise InvalidOption(f"overshoot must be at least 0, got {overshoot}")
    if not 0 < first_step <= 1:
        raise InvalidOption(f"first_step must be in (0, 1], got {first_step}")
    if candidates is not None and candidates < 1:
        raise InvalidOption(f"candidates must be at least 1, or None for all classes, got {candidates}")
    if not continuous(problem.space).convex:
        raise NotApplicable("a count of features has no distance to a boundary; jsma searches it")
    if not isinstance(problem.goal, Flip):
        raise NotApplicable("deepfool crosses the boundary of a class decision, and this goal has none")

    def start(view: Problem, member: Tensor) -> State:
        null = view.space.null()
        state = {"d": null, "total": null, "left": torch.full_like(member, steps)}
        if candidates is not None:
            # -1 until the first scores are seen.
            state["classes"] = torch.full_like(member, -1)[:, None].expand(-1, candidates)
        return state

    def step(view: Problem, state: State) -> tuple[State, Tensor]:
        space, following = continuous(view.space), dict(state)
        goal = view.goal
        assert isinstance(goal, Flip)

        def leads(scores: Tensor) -> Tensor:
            if goal.targets is not None:
                return margin(scores, goal.labels, goal.targets)[:, None]
            wrong = _others(scores, goal.labels)
            if candidates is not None:
                first = _likeliest(scores, goal.labels, candidates)
                wrong = following["classes"] = torch.where(state["classes"] < 0, first, state["classes"])
            return scores.gather(1, wrong) - scores.gather(1, goal.labels[:, None])

        found = view.jacobian(state["d"], leads)
        move, moved = _to_the_nearest(space, found, state["d"])
        share = torch.where(state["left"] == steps, first_step, 1.0).reshape(-1, *[1] * (move.ndim - 1))
        following["total"] = total = torch.addcmul(state["total"], move, share)
        following["d"] = d = space.project((1 + overshoot) * total)
        following["left"] = left = state["left"] - 1
        asking = ~found.success & moved & view.alive()
        success = found.success
        if bool(asking.all()):
            success = view.evaluate(d, "margin").success
        elif bool(asking.any()):
            rows = asking.nonzero().squeeze(1)
            answer = view.take(rows).evaluate(d.index_select(0, rows), "margin")
            success = success.index_copy(0, rows, answer.success)
        return following, asking & ~success & (left > 0)

    search(problem, start, step)


def _to_the_nearest(space: ContinuousSpace, found: Jacobian, at: Tensor) -> tuple[Tensor, Tensor]:
    """The step to the nearest of several boundaries, to first order, and, bool [batch], whether there is one."""
    shape = (-1, *[1] * (at.ndim - 1))
    nearest = torch.full_like(space.radius, torch.inf)
    move = torch.zeros_like(at)
    for lead, gradient in zip(found.outputs.unbind(1), found.values, strict=True):
        direction = space.steepest(gradient, at)
        slope = (gradient * direction).flatten(1).sum(1, dtype=torch.float64).to(gradient.dtype)  # padding adds nothing
        distance = torch.where(slope > 0, (lead.abs() / slope).clamp(min=SHORTEST), torch.inf)
        nearer = distance < nearest
        nearest = torch.where(nearer, distance, nearest)
        move = torch.where(nearer.reshape(shape), direction * torch.where(nearer, distance, 0.0).reshape(shape), move)
    return move, torch.isfinite(nearest)


def _others(scores: Tensor, labels: Tensor) -> Tensor:
    """All classes but the label, int64 [batch, classes - 1]."""
    classes = torch.arange(scores.shape[1] - 1, device=scores.device).expand(len(scores), -1)
    return classes + (classes >= labels[:, None])


def _likeliest(scores: Tensor, labels: Tensor, count: int) -> Tensor:
    """int64 [batch, count]; where there are fewer wrong classes, the last one again."""
    wrong = scores.detach().scatter(1, labels[:, None], -torch.inf)
    order = wrong.argsort(dim=1, descending=True, stable=True)[:, : min(count, scores.shape[1] - 1)]
    return torch.cat([order, order[:, -1:].expand(-1, count - order.shape[1])], 1)
