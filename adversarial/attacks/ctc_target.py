"""Audio adversarial examples, Carlini & Wagner 2018, https://arxiv.org/abs/1801.01944: the least noise that makes a
transcriber say a given text."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.problem import Problem
from adversarial.search import State, search
from adversarial.spaces.kinds import continuous


ENTRIES = (
    AttackEntry(
        name="cw-ctc",
        code="adversarial.attacks.ctc_target:ctc_target",
        summary="the least noise that makes a transcriber say a given text",
        access="gradient",
        needs=frozenset({"transcripts", "steps"}),
        paper="https://arxiv.org/abs/1801.01944",
        goal="target",
        minimum_norm=True,
    ),
)


FIRST_MOMENT, SECOND_MOMENT = 0.9, 0.999  # Adam's averages


def ctc_target(
    problem: Problem, *, steps: int = 300, start_size: float = 0.3, shrink: float = 0.8, relative_step: float = 0.05
) -> None:
    """Adam on the loss of the wanted transcript inside a ball that tightens around the nearest success.

    start_size: of the first ball, in the units of the threat's distance (for signal-to-noise ratios the noise's length
    over the utterance's). shrink: at each success a row's ball becomes this share of the success's distance.
    relative_step: the step of a feature as a share of the ball's size per feature. A row costs steps + 1 forwards and
    steps backwards. Only goals that name a transcript are searched: raises NotApplicable for others.
    """
    if steps < 1 or not start_size > 0 or not relative_step > 0:
        raise InvalidOption("steps must be at least 1, start_size and relative_step above 0")
    if not 0 < shrink < 1:
        raise InvalidOption(f"shrink must be between 0 and 1, got {shrink}")
    if not problem.goal.targeted:
        raise NotApplicable("a search for a given transcript needs the goal target, which names one")
    continuous(problem.space)

    def start(view: Problem, member: Tensor) -> State:
        null = view.space.null()
        radius = torch.full_like(view.space.radius, start_size).minimum(view.space.radius)
        return {"d": null, "first": null, "second": null, "radius": radius, "age": torch.zeros_like(member)}

    def step(view: Problem, state: State) -> tuple[State, Tensor]:
        d, shape = state["d"], (-1, *[1] * (state["d"].ndim - 1))
        gradient = view.gradient(d, "ce")
        if gradient.scores.values.ndim != 3:
            raise NotApplicable("a search for a transcript needs a victim that answers frame by frame")
        distance = view.space.norm(d)
        radius = torch.where(gradient.success, shrink * torch.minimum(distance, state["radius"]), state["radius"])
        space = continuous(view.space.with_budget(radius))
        age = state["age"] + 1
        # Gradients of utterances differ by orders of magnitude; Adam's ratio does not care, its averages do.
        slope = gradient.values
        first = FIRST_MOMENT * state["first"] + (1 - FIRST_MOMENT) * slope
        second = SECOND_MOMENT * state["second"] + (1 - SECOND_MOMENT) * slope.square()
        ages = age.reshape(shape)
        direction = (first / (1 - FIRST_MOMENT**ages)) / ((second / (1 - SECOND_MOMENT**ages)).sqrt() + 1e-12)
        # A step along the signs of unit norm has the size per feature that a ball of the radius allows.
        size = space.steepest(torch.ones_like(d)).abs().flatten(1).amax(1).reshape(shape)
        moved = space.project(d + relative_step * radius.reshape(shape) * size * direction)
        last = age == steps
        asking = last & view.alive()
        if bool(asking.any()):
            view.take(asking).evaluate(moved[asking], "ce")
        return {"d": moved, "first": first, "second": second, "radius": radius, "age": age}, ~last

    search(problem, start, step)
