"""Auto-PGD, Croce & Hein 2020, https://arxiv.org/abs/2003.01690; its L1 form, Croce & Hein 2021,
https://arxiv.org/abs/2103.01208."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from adversarial.attacks.pgd import features_of
from adversarial.clean import clean_scores, knowing_clean_scores
from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.goals import Flip
from adversarial.problem import Problem
from adversarial.search import State, search
from adversarial.spaces.kinds import bounded, continuous
from adversarial.spaces.protocol import ContinuousSpace


ENTRIES = (
    AttackEntry(
        name="apgd-ce",
        code="adversarial.attacks.apgd:apgd",
        summary="Auto-PGD: the step size of each row adapts itself",
        access="gradient",
        needs=frozenset({"steps"}),
        paper="https://arxiv.org/abs/2003.01690",
    ),
    AttackEntry(
        name="apgd-dlr",
        code="adversarial.attacks.apgd:apgd",
        summary="Auto-PGD on the difference of logits ratio, blind to the scale of the logits",
        access="gradient",
        needs=frozenset({"steps", "classes"}),
        paper="https://arxiv.org/abs/2003.01690",
        params={"loss": "dlr"},
    ),
    AttackEntry(
        name="apgd-t",
        code="adversarial.attacks.apgd:apgd",
        summary="Auto-PGD towards each of the likeliest wrong classes",
        access="gradient",
        needs=frozenset({"steps", "classes"}),
        paper="https://arxiv.org/abs/2003.01690",
        params={"loss": "dlr", "targets": 9},
    ),
)


MOMENTUM = 0.75  # the share of the new step; the rest goes on in the direction of the last one
RISING = 0.75  # so many of the steps since the last checkpoint must have raised the loss, or the step is halved
SPARSE_CHECK, SPARSE_START, SPARSE_SHRINK, SPARSE_LEAST = 0.04, 0.2, 1.5, 0.1  # of the L1 form, as published


def apgd(problem: Problem, *, steps: int = 100, restarts: int = 1, loss: str = "ce", targets: int = 0) -> None:
    """PGD whose step size each row finds for itself, from twice the radius down.

    loss: `ce`, `dlr` or `margin`. targets: 0, or of how many wrong classes, the likeliest at the clean input first,
    each gets a search that leads towards it; success is still what the goal says. At every checkpoint a row whose
    loss has risen too rarely goes back to its best point and halves its step. In L1 a step changes few features, as
    many as the best point so far suggests. A search costs steps + 1 forwards and steps backwards a row.
    """
    if steps < 1 or restarts < 1:
        raise InvalidOption(f"steps and restarts must be at least 1, got {steps} and {restarts}")
    if targets < 0:
        raise InvalidOption(f"targets must be at least 0, got {targets}")
    bounded(problem.space)
    problem = knowing_clean_scores(problem, loss)
    classes = _likeliest(problem, targets) if targets else None
    schedule = Schedule.of(steps, sparse=continuous(problem.space).sparse)

    def start(view: Problem, member: Tensor) -> State:
        d = view.space.sample(view.keys.fold_each("apgd", numbers=member))
        lowest = torch.full_like(view.space.radius, -torch.inf)
        return {
            "d": d,
            "before": d,
            "best": d,
            "best_gradient": torch.zeros_like(d),
            "loss": lowest,
            "top": lowest,
            "checked_top": lowest,
            "rises": torch.zeros_like(lowest),
            "halved": torch.ones_like(member, dtype=torch.bool),
            "size": (1.0 if schedule.sparse else 2.0) * view.space.radius,
            "spread": SPARSE_START * features_of(view).to(lowest.dtype),
            "towards": torch.full_like(member, -1)
            if classes is None
            else classes[view.rows, member % classes.shape[1]],
            "age": torch.zeros_like(member),
        }

    def step(view: Problem, state: State) -> tuple[State, Tensor]:
        space = continuous(view.space)
        towards = None if classes is None else state["towards"]
        found = view.gradient(state["d"], loss, towards)
        state = _noted(state, found.loss, found.values)
        state, gradient = _checked(state, found.values, schedule, space)
        d, age = state["d"], state["age"]
        shape = (-1, *[1] * (d.ndim - 1))
        direction = space.steepest(gradient, d, state["spread"].to(torch.int64).clamp(min=1))
        ahead = space.project(d + state["size"].reshape(shape) * direction)
        if not schedule.sparse:
            share = torch.where(age == 0, 1.0, MOMENTUM).reshape(shape)
            ahead = space.project(d + share * (ahead - d) + (1 - share) * (d - state["before"]))
        last = (age == steps - 1) & view.alive()
        if bool(last.any()):
            view.take(last).evaluate(ahead[last], loss, None if towards is None else towards[last])
        return {**state, "d": ahead, "before": d, "age": age + 1}, age + 1 < steps

    search(problem, start, step, restarts * (1 if classes is None else classes.shape[1]))


@dataclass(frozen=True, slots=True)
class Schedule:
    """After which steps a row is looked at. span: int64 [steps], at a checkpoint the steps since the last one, else 0.
    sparse: whether it is that of the L1 form."""

    span: Tensor
    sparse: bool

    @classmethod
    def of(cls, steps: int, sparse: bool) -> Schedule:
        span = torch.zeros(steps, dtype=torch.int64)
        if sparse:
            every = max(int(SPARSE_CHECK * steps), 1)
            span[every::every] = every
            return cls(span, sparse)
        done, share, width = 0, 0.22, 0.22
        while math.ceil(share * steps) < steps:
            at = math.ceil(share * steps)
            if at > done:
                span[at], done = at - done, at
            width = max(width - 0.03, 0.06)
            share += width
        return cls(span, sparse)


def _noted(state: State, loss: Tensor, gradient: Tensor) -> State:
    """The state with this step's loss in it."""
    shape = (-1, *[1] * (gradient.ndim - 1))
    higher = loss > state["top"]
    rows = higher.reshape(shape)
    return {
        **state,
        "rises": state["rises"] + (loss > state["loss"]) * (state["age"] > 0),
        "loss": loss,
        "top": torch.where(higher, loss, state["top"]),
        "best": torch.where(rows, state["d"], state["best"]),
        "best_gradient": torch.where(rows, gradient, state["best_gradient"]),
    }


def _checked(state: State, gradient: Tensor, schedule: Schedule, space: ContinuousSpace) -> tuple[State, Tensor]:
    """At a checkpoint: a smaller step from the best point, where the rule of the norm says so."""
    span = schedule.span.to(gradient.device)[state["age"]]
    here = span > 0
    if not bool(here.any()):
        return state, gradient
    if schedule.sparse:
        changed = (state["best"] != 0).flatten(1).sum(1).to(torch.float32)
        denser = changed >= 0.95 * state["spread"] * SPARSE_SHRINK
        smaller = (state["size"] / SPARSE_SHRINK).maximum(SPARSE_LEAST * space.radius)
        size, back = torch.where(denser, smaller, space.radius), here & ~denser
        update = {"spread": torch.where(here, changed / SPARSE_SHRINK, state["spread"])}
    else:
        rare = state["rises"] < RISING * span
        stuck = ~state["halved"] & (state["top"] <= state["checked_top"])
        back = here & (rare | stuck)
        size = torch.where(back, state["size"] / 2, state["size"])
        update = {
            "halved": torch.where(here, back, state["halved"]),
            "checked_top": torch.where(here, state["top"], state["checked_top"]),
            "rises": torch.where(here, 0.0, state["rises"]),
        }
    rows = back.reshape(-1, *[1] * (gradient.ndim - 1))
    d = torch.where(rows, state["best"], state["d"])
    # A row that goes back to its best point has no direction to go on in.
    before = torch.where(rows, d, state["before"])
    gradient = torch.where(rows, state["best_gradient"], gradient)
    return {**state, **update, "size": torch.where(here, size, state["size"]), "d": d, "before": before}, gradient


def _likeliest(problem: Problem, count: int) -> Tensor:
    """The wrong classes of each row, the likeliest first; int64 [rows of the whole batch, at most count]."""
    if not isinstance(problem.goal, Flip) or problem.goal.targets is not None:
        raise NotApplicable("a search towards each wrong class needs a goal of any wrong class")
    scores = clean_scores(problem).values
    if scores.ndim != 2:
        raise NotApplicable(f"no class decision here: the victim answers {list(scores.shape[1:])} a row")
    # A class at -inf is never decided, and still comes before the label.
    possible = scores.clamp(min=torch.finfo(scores.dtype).min)
    wrong = possible.scatter(1, problem.goal.labels[:, None], -torch.inf)
    together = wrong.argsort(dim=1, descending=True, stable=True)[:, : min(count, wrong.shape[1] - 1)]
    everyone = torch.zeros((len(problem.best.d), together.shape[1]), dtype=torch.int64, device=together.device)
    everyone[problem.rows] = together
    return everyone
