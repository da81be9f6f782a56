"""DeepFool and C&W against the exact distances of linear victims, in every norm and unit, with walls and without."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from adversarial.attacks.carlini_wagner import carlini_wagner
from adversarial.attacks.deepfool import deepfool
from adversarial.audit import audit
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.goals import Flip, RaiseLoss
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.spaces import Ball, embeddings, observations, pixels
from adversarial.threats import Threat


ROWS = 6
INF = float("inf")


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Linear:
    """Scores that are linear functions, each row summed by itself. shift: added to all of them."""

    differentiable = True

    def __init__(self, weights: Tensor, shift: float = 0.0) -> None:
        self.weights, self.shift = weights, shift

    def __call__(self, inputs: Inputs) -> Scores:
        values = inputs.values
        if inputs.mask is not None:
            values = values * inputs.mask.reshape(*inputs.mask.shape, *[1] * (values.ndim - inputs.mask.ndim))
        scores = [(values * weight).flatten(1).sum(1) for weight in self.weights]
        return Scores(torch.stack(scores, 1) + self.shift)


def make(surface: str, norm: str, walls: bool, classes: int) -> tuple[Ball, Threat, Linear]:
    """With walls, a good part of the features starts at a wall or near it."""
    threat = Threat(surface, norm, INF)  # type: ignore[arg-type]
    if surface == "pixels":
        noise = draw(1, ROWS, 1, 6, 6)
        values = (noise * (1.0 if walls else 0.05) + 0.5).clamp(0, 1)
        return pixels(Inputs(values), threat), threat, Linear(draw(2, classes, 1, 6, 6) * 0.3)
    if surface == "embeddings":
        mask = torch.arange(9) < torch.tensor([9, 8, 6, 4, 2, 1])[:, None]
        values = draw(1, ROWS, 9, 4) * 0.2 * mask[:, :, None]
        return embeddings(Inputs(values, mask), threat), threat, Linear(draw(2, classes, 9, 4))
    scale = torch.tensor([0.7, 1.1, 0.12, 0.44, 2.0])
    bound = 1.0 * scale if walls else None
    values = draw(1, ROWS, 5) * scale
    values = values if bound is None else torch.maximum(torch.minimum(values, bound), -bound)
    space = observations(Inputs(values), threat, scale, None if bound is None else -bound, bound)
    return space, threat, Linear(draw(2, classes, 5))


def problem(space: Ball, threat: Threat, victim: Linear, rows: list[int] | None = None, **options: Any) -> Problem:
    """Labels are the victim's own decisions; targets, an option, are the offsets of the wanted classes from them."""
    chosen = torch.arange(ROWS) if rows is None else torch.tensor(rows)
    space = space.take(chosen)
    labels, classes = victim(space.inputs).values.argmax(1), len(victim.weights)
    offset = options.pop("offset", None)
    goal = Flip(labels, None if offset is None else (labels + offset) % classes)
    keys = Keys.of(0, [str(row) for row in chosen.tolist()])
    return Problem(victim, space, goal, threat, keys, **{"minimum_norm": True, **options})


def exact(space: Ball, victim: Linear, norm: str, offset: int | None = None, lead: float = 0.0) -> Tensor:
    """The distance to the nearest point where a wrong class leads by so much, float64 [batch].

    The region of one class over the label is a half space, and its nearest point in the box is clip(t g, box) in l2 and
    clip(t sign(g), box) in linf, with the t at which it is reached, found by bisection.
    """
    values = space.inputs.values.double()
    mask = space.inputs.mask
    live = 1.0 if mask is None else mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim)).double()
    scale = torch.ones_like(values) if space.scale is None else space.scale.double().expand_as(values)
    room = space.bounds()
    open_end = torch.full_like(values, INF)
    low, high = (-open_end, open_end) if room is None else (room[0].double(), room[1].double())
    scores = victim(space.inputs).values.double()
    labels, classes, shape = scores.argmax(1), scores.shape[1], (-1, *[1] * (values.ndim - 1))
    nearest = torch.full((len(values),), INF, dtype=torch.float64)
    for step in range(1, classes) if offset is None else [offset]:
        other = (labels + step) % classes
        slope = (victim.weights[other] - victim.weights[labels]).double() * live * scale
        direction = slope if norm == "l2" else slope.sign()
        needed = (scores.gather(1, labels[:, None]) - scores.gather(1, other[:, None])).squeeze(1) + lead
        least, most = torch.zeros_like(nearest), torch.full_like(nearest, 1e4)
        for _ in range(100):
            middle = (least + most) / 2
            d = torch.clamp(middle.reshape(shape) * direction * scale, low, high) / scale
            over = (d * slope).flatten(1).sum(1) >= needed
            least, most = torch.where(over, least, middle), torch.where(over, middle, most)
        d = torch.clamp(most.reshape(shape) * direction * scale, low, high) / scale
        length = d.flatten(1).norm(dim=1) if norm == "l2" else d.flatten(1).abs().amax(1)
        nearest = torch.minimum(nearest, torch.where((d * slope).flatten(1).sum(1) >= needed, length, INF))
    return nearest


def ratios(attacked: Problem, best: Tensor) -> Tensor:
    """Distances, measured by the audit, over the best possible ones; every row must have succeeded."""
    assert bool(attacked.best.success.all())
    found = audit(attacked.space, attacked.best.d, attacked.inputs.clone()).distance
    assert bool((found >= best * (1 - 1e-4)).all()), (found / best).tolist()
    return found / best


def exact_of_found(attacked: Problem, victim: Linear, norm: str, lead: float = 0.0) -> Tensor:
    """The distance of the class that each row ended in: the margin leads to the runner-up, be it nearest or not."""
    labels, classes = victim(attacked.inputs).values.argmax(1), len(victim.weights)
    ended = victim(attacked.space.apply(attacked.best.d)).values.argmax(1)
    each = [exact(attacked.space, victim, norm, offset, lead) for offset in range(1, classes)]  # type: ignore[arg-type]
    return torch.stack(each, 1).gather(1, ((ended - labels) % classes - 1)[:, None]).squeeze(1)


OPEN = list(itertools.product(["pixels", "embeddings", "observations"], ["l2", "linf"], [False], [2, 4]))
WALLED = list(itertools.product(["pixels", "observations"], ["l2", "linf"], [True], [2, 4]))
REACHABLE = [case for case in WALLED if case[0] == "pixels"]


@pytest.mark.parametrize(("surface", "norm", "walls", "classes"), OPEN)
def test_deepfool_takes_one_step_to_the_nearest_class(surface: str, norm: str, walls: bool, classes: int) -> None:
    space, threat, victim = make(surface, norm, walls, classes)
    best = exact(space, victim, norm)
    if surface == "pixels":
        assert float(best.max()) < 0.35 * (1 if norm == "linf" else 6)  # no wall in the way
    attacked = problem(space, threat, victim)
    deepfool(attacked, first_step=1.0, overshoot=0.02)
    assert torch.allclose(ratios(attacked, best), torch.tensor(1.02, dtype=torch.float64), rtol=1e-3)
    assert attacked.ledger.forwards == 2 * ROWS
    assert attacked.ledger.backwards == ROWS * (classes - 1)


@pytest.mark.parametrize(("surface", "norm", "walls", "classes"), [*OPEN, *REACHABLE])
def test_deepfool_is_near_the_optimum(surface: str, norm: str, walls: bool, classes: int) -> None:
    space, threat, victim = make(surface, norm, walls, classes)
    attacked = problem(space, threat, victim)
    deepfool(attacked)
    assert float(ratios(attacked, exact(space, victim, norm)).max()) < (1.15 if walls else 1.03)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("offset", [1, 2])
def test_a_target_is_reached(norm: str, offset: int) -> None:
    space, threat, victim = make("pixels", norm, False, 4)
    best = exact(space, victim, norm, offset)
    for run in (deepfool, partial(carlini_wagner, binary_steps=6, steps=200, initial_const=1.0)):
        attacked = problem(space, threat, victim, offset=offset)
        run(attacked)
        decisions = victim(attacked.space.apply(attacked.best.d)).values.argmax(1)
        assert torch.equal(decisions, attacked.goal.targets)  # type: ignore[attr-defined]
        assert float(ratios(attacked, best).max()) < 2  # other classes may be in the way


@pytest.mark.parametrize("count", [1, 2, 99])
def test_fewer_candidates_cost_fewer_backwards(count: int) -> None:
    space, threat, victim = make("pixels", "l2", False, 4)
    attacked = problem(space, threat, victim)
    deepfool(attacked, candidates=count, first_step=1.0)
    assert bool(attacked.best.success.all())
    assert attacked.ledger.backwards == ROWS * count if count < 3 else ROWS * 3


@pytest.mark.slow
@pytest.mark.parametrize(("surface", "norm", "walls", "classes"), [*OPEN, *REACHABLE])
def test_carlini_wagner_reaches_the_optimum(surface: str, norm: str, walls: bool, classes: int) -> None:
    space, threat, victim = make(surface, norm, walls, classes)
    attacked = problem(space, threat, victim)
    carlini_wagner(attacked, binary_steps=9, steps=300, learning_rate=0.01, initial_const=0.1)
    assert float(ratios(attacked, exact_of_found(attacked, victim, norm)).max()) < 1.05


@pytest.mark.parametrize("initial", [1e-3, 1e3])
def test_the_search_for_the_constant_converges_from_both_sides(initial: float) -> None:
    space, threat, victim = make("pixels", "l2", True, 3)
    found = []
    for count in (1, 12):
        attacked = problem(space, threat, victim)
        carlini_wagner(attacked, binary_steps=count, steps=200, initial_const=initial)
        found.append(attacked.space.norm(attacked.best.d) + torch.where(attacked.best.success, 0, INF))
    assert bool((found[1] <= found[0]).all())
    assert float(ratios(attacked, exact_of_found(attacked, victim, "l2")).max()) < 1.05


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_confidence_is_respected(norm: str) -> None:
    space, threat, victim = make("pixels", norm, False, 3)
    lead = 0.5
    attacked = problem(space, threat, victim)
    carlini_wagner(attacked, binary_steps=8, steps=300, initial_const=1.0, confidence=lead)
    scores = victim(attacked.space.apply(attacked.best.d))
    assert bool((attacked.goal.loss(scores, "margin") >= lead - 1e-5).all())
    assert float(ratios(attacked, exact_of_found(attacked, victim, norm, lead)).max()) < 1.05
    assert isinstance(attacked.goal, Flip)  # as it was


@pytest.mark.parametrize("run", [deepfool, partial(carlini_wagner, steps=100, initial_const=1.0)])
@pytest.mark.parametrize("shift", [-100.0, 0.0, 100.0])
def test_features_at_both_walls_move_and_the_level_of_scores_means_nothing(run: Any, shift: float) -> None:
    values = (draw(3, ROWS, 1, 6, 6) > 0).float()
    threat = Threat("pixels", "l2", INF)
    victim = Linear(draw(2, 3, 1, 6, 6), shift)
    attacked = problem(pixels(Inputs(values), threat), threat, victim)
    run(attacked)
    assert float(ratios(attacked, exact(attacked.space, victim, "l2")).max()) < 1.15  # type: ignore[arg-type]
    assert bool(((attacked.best.d != 0).flatten(1).sum(1) > 3).all())


RUNS: list[Any] = [
    deepfool,
    partial(deepfool, candidates=1),
    partial(carlini_wagner, binary_steps=3, steps=30, initial_const=1.0, learning_rate=0.05),
    partial(carlini_wagner, binary_steps=3, steps=30, initial_const=1.0, abort_early=False, confidence=0.1),
]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("surface", ["pixels", "embeddings", "observations"])
def test_a_row_does_not_depend_on_its_neighbours(surface: str, norm: str, run: Any) -> None:
    space, threat, victim = make(surface, norm, surface != "embeddings", 3)
    whole = problem(space, threat, victim)
    run(whole)
    for rows in ([0], [3], [5], [2, 1], [5, 4, 3, 2, 1, 0]):
        part = problem(space, threat, victim, rows)
        run(part)
        assert torch.equal(part.best.d, whole.best.d[rows])
    narrow = problem(space, threat, victim, width=2)
    run(narrow)
    assert torch.equal(narrow.best.d, whole.best.d)


@pytest.mark.parametrize("run", RUNS[::2])
def test_a_row_that_is_wrong_already_stays_where_it_is(run: Any) -> None:
    space, threat, victim = make("pixels", "l2", False, 3)
    wrong = Flip((victim(space.inputs).values.argmax(1) + 1) % 3)
    keys = Keys.of(0, list("abcdef"))
    attacked = Problem(victim, space, wrong, threat, keys, minimum_norm=True)
    run(attacked)
    assert bool((attacked.best.d == 0).all())
    assert bool(attacked.best.success.all())
    assert attacked.ledger.forwards == ROWS


@pytest.mark.parametrize("run", RUNS[::2])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_without_minimum_norm_a_success_is_found_as_well(run: Any, early_stopping: bool) -> None:
    space, threat, victim = make("pixels", "l2", True, 3)
    attacked = problem(space, threat, victim, minimum_norm=False, early_stopping=early_stopping)
    run(attacked)
    assert bool(attacked.best.success.all())
    budget = space.with_budget(torch.full((ROWS,), 0.05))
    bounded = problem(budget, threat, victim, minimum_norm=False, early_stopping=early_stopping)
    run(bounded)
    audit(bounded.space, bounded.best.d, bounded.inputs.clone())


def test_rows_go_at_their_own_pace() -> None:
    """With abort_early a row's passes are those that it needs alone."""
    space, threat, victim = make("pixels", "l2", True, 3)
    run = partial(carlini_wagner, binary_steps=4, steps=100, initial_const=1.0, learning_rate=0.05)
    whole = problem(space, threat, victim)
    run(whole)
    alone = []
    for row in range(ROWS):
        part = problem(space, threat, victim, [row])
        run(part)
        alone.append(part.ledger.forwards)
    assert whole.best.asked.tolist() == alone
    assert len(set(alone)) > 1
    assert max(alone) < 400


class Broken(Linear):
    """Scores that are not a number from a distance of 0.1 on."""

    def __call__(self, inputs: Inputs) -> Scores:
        scores = super().__call__(inputs).values
        far = (inputs.values - 0.5).flatten(1).abs().amax(1, keepdim=True) > 0.3
        return Scores(torch.where(far, torch.nan, scores))


@pytest.mark.parametrize("run", RUNS[::2])
def test_scores_that_are_no_numbers_end_in_finite_perturbations(run: Any) -> None:
    space, threat, victim = make("pixels", "l2", False, 3)
    attacked = problem(space, threat, Broken(victim.weights * 1e-2 + 1e-3))
    run(attacked)
    assert bool(torch.isfinite(attacked.best.d).all())


@pytest.mark.parametrize(
    ("run", "options"),
    [
        *((deepfool, options) for options in ({"steps": 0}, {"overshoot": -0.1}, {"candidates": 0}, {"first_step": 0})),
        *(
            (carlini_wagner, options)
            for options in (
                {"steps": 0},
                {"binary_steps": 0},
                {"learning_rate": 0.0},
                {"initial_const": -1.0},
                {"confidence": -1.0},
            )
        ),
    ],
)
def test_options_out_of_range_are_refused(run: Any, options: dict[str, float]) -> None:
    space, threat, victim = make("pixels", "l2", False, 3)
    with pytest.raises(InvalidOption, match="must be"):
        run(problem(space, threat, victim), **options)


@pytest.mark.parametrize("run", [deepfool, carlini_wagner])
def test_what_has_no_distance_to_a_class_is_refused(run: Any) -> None:
    space, threat, victim = make("pixels", "l2", False, 3)
    attacked = problem(space, threat, victim)
    attacked.goal = RaiseLoss(attacked.goal)
    with pytest.raises(NotApplicable, match="class"):
        run(attacked)
    space, threat, victim = make("pixels", "l0", False, 3)
    with pytest.raises(NotApplicable):
        run(problem(space, threat, victim))
