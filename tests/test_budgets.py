"""Minimum norms, budget curves, fits and surrogates: what the harness makes of an attack's run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from adversarial.attacks.pgd import pgd
from adversarial.errors import AccessDenied, DataError, InvalidOption, NotApplicable
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.threats import Threat
from leaderboard.records.record import BUDGET_PREFIX, NEAREST
from tasks import FIT_SPLIT
from tasks.control.task import make as make_control
from tasks.measuring.arrays import ArrayTask
from tasks.measuring.protocol import Measurement, Trial
from tasks.measuring.static import measure_static


ROWS = 10
CURVE = (0.25, 0.5, 2.0)


class Linear:
    """Two classes; the margin falls short of zero by the row's first feature, times the sum of the weights."""

    differentiable = True

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, inputs: Inputs) -> Scores:
        self.rows += len(inputs)
        margin = (inputs.values.flatten(1) - 0.5).sum(1)
        return Scores(torch.stack([-margin, margin], 1))


def task(targets: Tensor | None = None) -> ArrayTask:
    """Row i is `0.02 i` away from the boundary in linf; the first one is on the wrong side."""
    gaps = torch.arange(ROWS) * 0.02
    gaps[0] = -0.01
    values = (0.5 - gaps)[:, None, None, None].expand(ROWS, 1, 2, 2).contiguous()
    return ArrayTask(Inputs(values), torch.zeros(ROWS, dtype=torch.int64), targets)


def measured(trial: Trial, victim: Linear | None = None) -> Measurement:
    return measure_static(task(), victim or Linear(), trial, Ledger())


def at(measurement: Measurement, share: float) -> list[float]:
    return list(measurement.examples.columns[f"{BUDGET_PREFIX}{share:g}"])


def right_beyond(budget: float) -> list[float]:
    return [0.0] + [float(row * 0.02 > budget) for row in range(1, ROWS)]


def test_a_curve_is_the_attack_at_each_budget_and_each_point_the_truth() -> None:
    threat = Threat("pixels", "linf", 0.081)
    found = measured(Trial(threat, partial(pgd, steps=10, loss="margin"), curve=CURVE))
    for share in (*CURVE, 1.0):
        assert at(found, share) == right_beyond(0.081 * share)
    assert list(found.examples.values) == at(found, 1.0)
    alone = measured(Trial(threat, partial(pgd, steps=10, loss="margin")))
    assert found.examples.values == alone.examples.values
    assert f"{BUDGET_PREFIX}1" not in alone.examples.columns


def test_what_a_smaller_budget_broke_is_not_attacked_again_and_counts() -> None:
    budgets: list[tuple[float, int]] = []

    def only_at_small_budgets(problem: Problem) -> None:
        radius = float(problem.space.radius[0])
        budgets.append((round(radius, 3), len(problem)))
        if radius < 0.05:
            problem.evaluate(problem.space.project(torch.full_like(problem.inputs.values, radius)))

    found = measured(Trial(Threat("pixels", "linf", 0.0804), only_at_small_budgets, curve=CURVE))
    assert [budget for budget, _ in budgets] == [0.02, 0.04, 0.08, 0.161]
    assert [rows for _, rows in budgets] == [10, 8, 7, 7]
    curve = [at(found, share) for share in (0.25, 0.5, 1.0, 2.0)]
    assert curve[2] == curve[3] == curve[1] == right_beyond(0.0402)
    assert max(found.examples.distances) <= 0.0403


def test_the_evidence_of_a_row_is_that_of_the_budget_that_broke_it() -> None:
    found = measured(Trial(Threat("pixels", "linf", 0.08), partial(pgd, steps=10), curve=CURVE))
    victim = Linear()
    decisions = victim(Inputs(found.evidence["inputs"])).values.argmax(1)
    assert [float(decision == 0) for decision in decisions.tolist()] == list(found.examples.values)
    moved = (found.evidence["inputs"] - task().inputs.values).abs().flatten(1).amax(1)
    assert moved.tolist() == pytest.approx(list(found.examples.distances), abs=1e-7)


def nearest(problem: Problem) -> None:
    """The exact smallest step, and a longer one before it."""
    gap = (0.5 - problem.inputs.values.flatten(1)[:, 0]).clamp(min=-1e-5) + 1e-5
    gap = torch.where(gap > 0.13, 0.001, gap)[:, None, None, None].expand_as(problem.inputs.values)
    problem.evaluate(problem.space.project(2 * gap))
    problem.evaluate(problem.space.project(gap))


def test_a_minimum_norm_attack_counts_at_every_budget_that_its_distance_is_within() -> None:
    trial = Trial(Threat("pixels", "linf", 0.081), nearest, minimum_norm=True, curve=CURVE)
    found = measured(trial)
    for share in (0.25, 0.5, 1.0):
        assert at(found, share) == right_beyond(0.081 * share)
    assert at(found, 2.0) == [0.0] * 7 + [1.0] * 3  # what was not found is robust at any budget
    distances = found.examples.columns[NEAREST]
    assert distances[1:7] == pytest.approx([0.02 * row + 1e-5 for row in range(1, 7)], abs=1e-6)
    assert distances[7:] == (-1.0, -1.0, -1.0)
    assert found.examples.distances[5:] == (0.0,) * 5  # nothing over the budget is kept as an example


def test_an_open_budget_asks_only_whether_a_success_was_found() -> None:
    found = measured(Trial(Threat("pixels", "linf", float("inf")), nearest, minimum_norm=True))
    assert list(found.examples.values) == [0.0] * 7 + [1.0] * 3


def test_a_fitted_attack_sees_the_fit_split_alone_and_never_the_test_rows() -> None:
    seen: list[list[float]] = []

    def fit(problems: Callable[[], Iterator[Problem]]) -> Callable[[Problem], None]:
        for _ in range(2):
            seen.append([float(problem.inputs.values.sum()) for problem in problems()])
            for problem in problems():
                assert not problem.early_stopping
                problem.gradient(problem.space.null())
        return lambda problem: problem.submit(problem.space.null() + 0.05)

    fitted = replace(task(), fit=(Inputs(torch.rand(7, 1, 2, 2)), torch.zeros(7, dtype=torch.int64), None))
    ledger = Ledger()
    trial = Trial(Threat("pixels", "linf", 0.05), None, fit=fit, batch_size=4)
    found = measure_static(fitted, Linear(), trial, ledger)
    assert len(seen[0]) == 2
    assert seen[0] == seen[1]
    assert ledger.forwards == ledger.backwards == 14
    assert found.examples.distances == pytest.approx([0.05] * ROWS, abs=1e-6)
    with pytest.raises(InvalidOption, match=FIT_SPLIT):
        measure_static(fitted, Linear(), replace(trial, split=FIT_SPLIT), ledger)
    with pytest.raises(DataError, match="fit="):
        measure_static(task(), Linear(), trial, ledger)


def test_an_attack_on_surrogates_learns_nothing_of_the_target() -> None:
    target, surrogate = Linear(), Linear()

    def move(problem: Problem) -> None:
        (other,) = problem.surrogates
        gradient = other.gradient(other.space.null(), "margin").values
        for forbidden in (problem.evaluate, problem.gradient):
            with pytest.raises(AccessDenied):
                forbidden(problem.space.null())
        problem.submit(problem.space.project(gradient.sign()))

    threat, ledger = Threat("pixels", "linf", 0.081, "surrogate"), Ledger()
    found = measure_static(task(), target, Trial(threat, move, surrogates=(surrogate,)), ledger)
    assert list(found.examples.values) == right_beyond(0.081)
    assert surrogate.rows == ledger.forwards == ROWS
    assert target.rows == 4 * ROWS + 1  # the final prediction and the looks at it, and nothing before
    with pytest.raises(NotApplicable, match="another model"):
        measure_static(task(), target, Trial(threat, move), ledger)


def test_rows_that_wait_are_loaded_together_and_outcomes_stay() -> None:
    trial = Trial(Threat("pixels", "linf", 0.081), partial(pgd, steps=6, relative_step=0.2), batch_size=3)
    one, other = Ledger(), Ledger()
    first = measure_static(task(), Linear(), trial, one)
    second = measure_static(task(), Linear(), replace(trial, queue=4), other)
    assert (first.examples.values, first.examples.distances) == (second.examples.values, second.examples.distances)
    assert one.forwards == other.forwards


@pytest.mark.slow
def test_no_pass_is_wider_than_the_batch_whatever_the_number_of_examples_steps_and_restarts() -> None:
    class Watched(Linear):
        widest = 0

        def __call__(self, inputs: Inputs) -> Scores:
            self.widest = max(self.widest, len(inputs))
            return super().__call__(inputs)

    for examples, steps, restarts, queue in itertools.product((20, 60), (3, 6), (1, 9), (1, 5)):
        many = ArrayTask(Inputs(torch.rand(examples, 1, 2, 2) * 0.3), torch.zeros(examples, dtype=torch.int64))
        victim = Watched()
        attack = partial(pgd, steps=steps, restarts=restarts)
        trial = Trial(Threat("pixels", "linf", 0.1), attack, batch_size=8, queue=queue, curve=CURVE)
        measure_static(many, victim, trial, Ledger())
        assert victim.widest == 8


class Policy:
    differentiable = True

    def __call__(self, inputs: Inputs) -> Scores:
        lean = inputs.values @ torch.tensor([0.1, 0.3, 8.0, 2.0])
        return Scores(torch.stack([-lean, lean], 1))


@pytest.mark.slow
def test_in_episodes_a_larger_budget_never_does_less_and_replaying_proves_the_returns() -> None:
    threat = Threat("observations", "linf", 0.4)
    trial = Trial(threat, partial(pgd, steps=3), limit=4, curve=(0.25, 2.0))
    found = make_control().measure(Policy(), trial, Ledger())
    curve = [found.examples.columns[f"{BUDGET_PREFIX}{share:g}"] for share in (0.25, 1.0, 2.0)]
    for smaller, larger in itertools.pairwise(curve):
        assert all(more <= less for less, more in zip(smaller, larger, strict=True))
    assert found.examples.values == curve[1]
    lengths = (found.evidence["observations"].abs().sum(2) > 0).sum(0)
    assert lengths.tolist() == [int(value) for value in found.examples.values]


def test_in_episodes_a_step_beyond_the_budget_is_not_shown_to_the_agent() -> None:
    def flip(problem: Problem) -> None:
        push = torch.zeros_like(problem.inputs.values)
        push[:, 3] = torch.where(problem.goal.labels == 1, -1.0, 1.0)  # type: ignore[attr-defined]
        for size in (0.05, 0.2, 1.0, 5.0):
            problem.evaluate(size * push)

    threat = Threat("observations", "linf", 0.3)
    found = make_control().measure(Policy(), Trial(threat, flip, limit=3, minimum_norm=True), Ledger())
    assert max(found.examples.distances) <= 0.3 + 1e-6
    steps = found.examples.columns["attacked_steps"]
    assert all(0 < attacked < value for attacked, value in zip(steps, found.examples.values, strict=True))
    assert found.examples.columns["attacked_steps"] == found.examples.columns["flipped_steps"]
