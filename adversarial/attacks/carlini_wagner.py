"""The attack of Carlini & Wagner 2016, https://arxiv.org/abs/1608.04644, in L2 and Linf."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.goals import Flip, Judgement
from adversarial.inputs import Scores
from adversarial.problem import Problem
from adversarial.search import State, search
from adversarial.spaces.kinds import continuous


ENTRIES = (
    AttackEntry(
        name="cw",
        code="adversarial.attacks.carlini_wagner:carlini_wagner",
        summary="the smallest distance plus a constant times what the margin lacks, minimised by Adam",
        access="gradient",
        needs=frozenset({"steps", "classes"}),
        paper="https://arxiv.org/abs/1608.04644",
        minimum_norm=True,
    ),
)


NORMS: Final = ("l2", "snr", "linf")
MEMORY, SPREAD_MEMORY, TINY = 0.9, 0.999, 1e-8  # of Adam
RAISE = 10.0  # of a constant that is too small, as long as none was large enough
TAU_SHRINK = 0.9  # in linf, of the distance beyond which features are penalised
STALLED = 0.995  # a tenth of a search that lowers its loss by less has stalled


def carlini_wagner(
    problem: Problem,
    *,
    binary_steps: int = 9,
    steps: int = 1000,
    learning_rate: float = 0.01,
    initial_const: float = 1e-3,
    confidence: float = 0.0,
    abort_early: bool = True,
) -> None:
    """Minimises the squared distance plus a constant times what the margin lacks, by Adam inside the input range; a
    binary search for each row's smallest constant that still succeeds.

    In linf, what features exceed a bound by stands for the distance, the victim sees them cut at it, and the bound
    follows each success down.
    learning_rate: in the units of the norm; it falls to nothing over a search. confidence: the margin that counts as a
    success. abort_early: a row whose search stalls goes on to its next constant. A row costs at most
    binary_steps * steps forwards and as many backwards.
    """
    if binary_steps < 1 or steps < 1:
        raise InvalidOption(f"binary_steps and steps must be at least 1, got {binary_steps} and {steps}")
    if not (learning_rate > 0 and initial_const > 0 and confidence >= 0):
        raise InvalidOption(
            "learning_rate and initial_const must be above 0 and confidence at least 0, "
            f"got {learning_rate}, {initial_const} and {confidence}"
        )
    continuous(problem.space)
    if problem.threat.norm not in NORMS:
        raise NotApplicable(f"this attack minimises l2 or linf, not {problem.threat.norm}")
    goal = problem.goal
    if not isinstance(goal, Flip):
        raise NotApplicable("this attack minimises a distance to another class, and this goal decides no classes")
    if confidence > 0:
        problem = problem.take(torch.arange(len(problem), device=problem.rows.device))
        problem.goal = Confident(goal, confidence)
    linf = problem.threat.norm == "linf"
    window = math.ceil(steps / 10)
    scaled = bool((_unit(problem) != 1).any())

    def start(view: Problem, member: Tensor) -> State:
        d, zero = view.space.null(), torch.zeros_like(view.space.radius)
        state = {
            "d": d,
            "mean": d,
            "spread": d,
            "age": torch.zeros_like(member),
            "round": torch.zeros_like(member),
            "const": zero + initial_const,
            "lower": zero,
            "upper": zero + torch.inf,
            "loss": zero + torch.inf,
            "checked": zero + torch.inf,
            "tau": zero + torch.inf,
            "near": zero + torch.inf,
            "floor": zero,
            "hit": torch.zeros_like(member, dtype=torch.bool),
        }
        return {**state, "unit": _unit(view)} if scaled else state

    def step(view: Problem, state: State) -> tuple[State, Tensor]:
        d, const, unit = state["d"], state["const"], state.get("unit")
        tau, near = state["tau"], state["near"]
        shape = (-1, *[1] * (d.ndim - 1))
        size = d if unit is None else d / torch.where(unit > 0, unit, 1.0)
        tried = d
        if linf:
            inside = torch.minimum(torch.maximum(size, -tau.reshape(shape)), tau.reshape(shape))
            tried = inside if unit is None else inside * unit
        found = view.gradient(tried, "margin")
        lacking = (confidence - found.loss).clamp(min=0)
        pull = const * (lacking > 0)
        slope = found.values if unit is None else found.values * unit
        distance = view.space.norm(tried)
        if linf:
            excess = (size - inside).abs_()
            cost = excess.flatten(1).sum(1)
            gradient = size.sign() * (excess > 0) - slope * pull.reshape(shape)
            hit = found.success
            near = torch.where(hit, torch.minimum(near, distance), near)
            tau = torch.where(hit, torch.maximum(TAU_SHRINK * near, (state["floor"] + near) / 2), tau)
        else:
            cost, hit = distance.square(), found.success
            gradient = torch.addcmul(2 * size, slope, pull.reshape(shape), value=-1)
        age = state["age"] + 1
        mean = torch.lerp(state["mean"], gradient, 1 - MEMORY)
        spread = (state["spread"] * SPREAD_MEMORY).addcmul_(gradient, gradient, value=1 - SPREAD_MEMORY)
        rate, root = (part.reshape(shape) for part in _schedule(learning_rate, age, steps))
        move = (mean * rate).div_((spread.sqrt() * root).add_(TINY))
        ahead = view.space.project(d - (move if unit is None else move * unit))
        loss = torch.minimum(state["loss"], cost + const * lacking)
        checking = age % window == 0
        if linf:  # a new bound is a new loss
            loss = torch.where(hit, torch.inf, loss)
        ended = age >= steps
        if abort_early:
            ended = ended | (checking & ~(loss <= STALLED * state["checked"]))
        following = {
            **state,
            "d": ahead,
            "mean": mean,
            "spread": spread,
            "age": age,
            "loss": loss,
            "checked": torch.where(checking, loss, state["checked"]),
            "tau": tau,
            "near": near,
            "hit": state["hit"] | hit,
        }
        if bool(ended.any()):
            following = _next_round(following, ended, linf)
        there = found.success & (distance == 0)  # nothing is nearer
        return following, (following["round"] < binary_steps) & ~there

    search(problem, start, step)


def _schedule(learning_rate: float, age: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Adam's step and the factor of its root, float32 [batch], its means made unbiased."""
    age = age.to(torch.float64)
    rate = learning_rate * (1 - age / (steps + 1)) / (1 - MEMORY**age)
    return rate.to(torch.float32), (1 - SPREAD_MEMORY**age).rsqrt().to(torch.float32)


def _next_round(state: State, ended: Tensor, linf: bool) -> State:
    """The state in which rows that have ended begin again from the clean input, with their next constant and bound."""
    const, hit = state["const"], state["hit"]
    lower = torch.where(ended & ~hit, torch.maximum(state["lower"], const), state["lower"])
    if linf:  # the bound alone decides the distance: a constant that was large enough stays
        upper = state["upper"]
        following = torch.where(hit, const, const * RAISE)
    else:
        upper = torch.where(ended & hit, torch.minimum(state["upper"], const), state["upper"])
        following = torch.where(torch.isinf(upper), const * RAISE, (lower + upper) / 2)
    # A bound in vain becomes the floor of those to come, halfway to the nearest success.
    vain = ended & ~hit & torch.isfinite(state["near"])
    floor = torch.where(vain, state["tau"], state["floor"])
    tau = torch.where(vain, (floor + state["near"]) / 2, state["tau"])
    fresh = ended.nonzero().squeeze(1)
    cleared = {name: state[name].index_fill(0, fresh, 0) for name in ("d", "mean", "spread", "age", "hit")}
    opened = {name: state[name].index_fill(0, fresh, torch.inf) for name in ("loss", "checked")}
    searched = {
        "upper": upper,
        "lower": lower,
        "const": torch.where(ended, following, const),
        "floor": floor,
        "tau": tau,
    }
    return {**state, **cleared, **opened, **searched, "round": state["round"] + ended}


def _unit(view: Problem) -> Tensor:
    """What one unit of distance is on each feature, shaped like d: 0 where there is none, as in padding."""
    space = continuous(view.space)
    steepest = space.steepest(torch.ones_like(space.null()))
    if view.threat.norm == "linf":
        unit = steepest
    else:
        # The steepest step along ones is unit^2 over its own length.
        total = steepest.flatten(1).sum(1).reshape(-1, *[1] * (steepest.ndim - 1))
        unit = (steepest * total).sqrt()
    return torch.where((unit - 1).abs() < 1e-5, 1.0, unit)


@dataclass(frozen=True, slots=True)
class Confident:
    """A class decision that counts only with a margin."""

    goal: Flip
    confidence: float

    @property
    def targeted(self) -> bool:
        return self.goal.targeted

    def loss(self, scores: Scores, name: str, towards: Tensor | None = None) -> Tensor:
        return self.goal.loss(scores, name, towards)

    def judge(self, scores: Scores) -> Judgement:
        success = self.goal.judge(scores).success & (self.goal.loss(scores, "margin") >= self.confidence)
        return Judgement(success, success.to(torch.float32), success)

    def take(self, rows: Tensor) -> Confident:
        return Confident(self.goal.take(rows), self.confidence)
