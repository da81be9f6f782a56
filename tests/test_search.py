"""The engine: rows leave at once, waiting ones take their places, and nothing of it changes a row's outcome."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from adversarial.attacks.pgd import pgd
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.search import ABREAST, State, search
from adversarial.spaces import pixels
from adversarial.threats import Threat


ROWS = 12


@dataclass
class Victim:
    """Two classes, a margin made row by row, so that no kernel can round a row by its neighbours. Keeps the number of
    rows of each pass; a row breaks the later the brighter it is."""

    differentiable = True
    passes: list[int] = field(default_factory=list)
    backwards: list[int] = field(default_factory=list)

    def __call__(self, inputs: Inputs) -> Scores:
        self.passes.append(len(inputs))
        if inputs.values.requires_grad:
            inputs.values.register_hook(lambda gradient: self.backwards.append(len(gradient)))
        flat = inputs.values.flatten(1)
        margin = (2 * flat + flat.square()).sum(1) - 14.6
        return Scores(torch.stack([-margin, margin], 1))


def images(rows: int = ROWS) -> Tensor:
    """Bright and dark ones in turns, so that every batch has some of each."""
    brightness = torch.linspace(0.2, 0.6, rows).reshape(3, -1).T.flatten()
    return brightness[:, None, None, None].expand(rows, 1, 3, 3).contiguous()


def problem(width: int | None, limit: int | None = None, rows: int = ROWS) -> tuple[Problem, Victim]:
    victim, threat = Victim(), Threat("pixels", "linf", 0.3, query_limit=limit)
    keys = Keys.of(0, [f"row-{row}" for row in range(rows)])
    labels = torch.zeros(rows, dtype=torch.int64)
    return (
        Problem(victim, pixels(Inputs(images(rows)), threat), Flip(labels), threat, keys, width=width),
        victim,
    )


@pytest.mark.parametrize("width", [1, 2, 5, 8, 12, 100])
@pytest.mark.parametrize("restarts", [1, 2, 4, 11])
def test_no_width_changes_a_byte_or_a_count(width: int, restarts: int) -> None:
    alone, everyone = problem(width), problem(None)
    for attacked, _ in (alone, everyone):
        pgd(attacked, steps=7, relative_step=0.15, restarts=restarts)
    assert torch.equal(alone[0].best.d, everyone[0].best.d)
    assert torch.equal(alone[0].best.asked, everyone[0].best.asked)
    assert torch.equal(alone[0].best.asked_at_success, everyone[0].best.asked_at_success)
    assert alone[0].ledger.forwards == everyone[0].ledger.forwards
    assert max(alone[1].passes) <= max(width, min(restarts - 1, ABREAST), 1)


def test_some_rows_break_early_some_late_and_some_never() -> None:
    attacked, _ = problem(None)
    pgd(attacked, steps=7, relative_step=0.15, restarts=2)
    taken = attacked.best.asked[attacked.best.success].tolist()
    assert 0 < len(taken) < ROWS
    assert len(set(taken)) > 2


@pytest.mark.parametrize("width", [3, 100])
@pytest.mark.parametrize("restarts", [1, 3])
def test_the_ledger_is_what_hooks_on_the_model_count(width: int, restarts: int) -> None:
    attacked, victim = problem(width)
    pgd(attacked, steps=5, restarts=restarts)
    assert attacked.ledger.forwards == sum(victim.passes) == int(attacked.best.asked.sum())
    assert attacked.ledger.backwards == sum(victim.backwards) == int(attacked.best.gradients.sum())


def test_waiting_rows_take_the_places_of_broken_ones() -> None:
    """Batches in a row would pay for each batch's slowest row; the passes are as full as rows are left."""
    attacked, victim = problem(4)
    pgd(attacked, steps=12, relative_step=0.1)
    needed = sum(victim.passes)
    assert len(victim.passes) <= needed / 4 + 13
    one_after_the_other = 0
    for start in range(0, ROWS, 4):
        whole, counted = problem(None)
        pgd(whole.take(torch.arange(start, start + 4)), steps=12, relative_step=0.1)
        one_after_the_other += len(counted.passes)
    assert len(victim.passes) < one_after_the_other


def test_a_finished_row_takes_its_waiting_members_with_it() -> None:
    one, many = problem(None), problem(None)
    pgd(one[0], steps=5)
    pgd(many[0], steps=5, restarts=6)
    broken = one[0].best.success
    assert torch.equal(many[0].best.asked[broken], one[0].best.asked[broken])
    assert bool((many[0].best.asked[~broken] > one[0].best.asked[~broken]).all())


def test_more_restarts_never_lose_a_success() -> None:
    found = []
    for restarts in (1, 2, 3, 9, 12):
        attacked, _ = problem(5)
        pgd(attacked, steps=2, relative_step=0.4, restarts=restarts)
        found.append(attacked.best.success)
    for fewer, more in itertools.pairwise(found):
        assert bool((more | ~fewer).all())


@pytest.mark.parametrize("limit", [1, 3, 9, 30])
def test_a_query_limit_is_kept_whatever_runs_side_by_side(limit: int) -> None:
    attacked, _ = problem(None, limit)
    pgd(attacked, steps=5, restarts=4)
    assert int(attacked.best.asked.max()) <= limit
    robust = ~attacked.best.success
    assert bool((attacked.best.asked[robust] == min(limit, 24)).all())


def test_jobs_of_any_length_end_by_themselves() -> None:
    """Each job runs as many steps as its row number says."""
    attacked, _ = problem(5)
    steps = torch.zeros(ROWS, dtype=torch.int64)

    def start(view: Problem, member: Tensor) -> State:  # noqa: ARG001
        return {"left": view.rows + 1}

    def step(view: Problem, state: State) -> tuple[State, Tensor]:
        steps[view.rows] += 1
        left = state["left"] - 1
        return {"left": left}, left > 0

    search(attacked, start, step, members=2)
    assert steps.tolist() == [2 * (row + 1) for row in range(ROWS)]


def test_each_restart_draws_the_same_whether_alone_or_beside_others() -> None:
    attacked, _ = problem(None)
    member = torch.tensor([0, 3, 1, 0, 2, 3, 3, 1, 0, 2, 2, 1])
    together = attacked.keys.fold_each("pgd", numbers=member)
    for row, number in enumerate(member.tolist()):
        assert torch.equal(together.state[row], attacked.keys.fold("pgd", number).state[row])


class Rounding:
    """A victim whose decision turns on a digit that bfloat16 has not: there it seems to break at once."""

    differentiable = True

    def __init__(self) -> None:
        self.layer = torch.nn.Linear(9, 2)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[1.0] * 9, [1.036] * 9]))
            self.layer.bias.copy_(torch.tensor([0.16, 0.0]))
        self.layer.requires_grad_(False)
        self.sure = 0

    def __call__(self, inputs: Inputs) -> Scores:
        scores = self.layer(inputs.values.flatten(1))
        self.sure += len(inputs) * (scores.dtype == torch.float32)
        return Scores(scores)


def test_float32_confirms_what_bfloat16_believes() -> None:
    victim, threat, rows = Rounding(), Threat("pixels", "linf", 0.05), 300
    values, labels = images(rows), torch.zeros(rows, dtype=torch.int64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        believed = victim(Inputs(values + 0.05)).values.float().argmax(1) != labels
    true = victim(Inputs(values + 0.05)).values.argmax(1) != labels
    assert bool((believed & ~true).any())
    keys = Keys.of(0, [str(row) for row in range(rows)])
    victim.sure = 0
    attacked = Problem(victim, pixels(Inputs(values), threat), Flip(labels), threat, keys, half=True)
    outcome = attacked.evaluate(torch.full_like(values, 0.05))
    assert victim.sure == int(believed.sum())
    assert attacked.ledger.forwards == rows + victim.sure
    assert attacked.ledger.queries == rows == int(attacked.best.asked.sum())  # to be sure of an answer is no query
    assert torch.equal(outcome.success, believed & true)
    assert torch.equal(attacked.best.success, believed & true)


def test_with_minimum_norm_the_nearest_success_counts_and_no_row_leaves() -> None:
    victim, threat = Victim(), Threat("pixels", "linf", float("inf"))
    labels, keys = torch.zeros(ROWS, dtype=torch.int64), Keys.of(0, [str(row) for row in range(ROWS)])
    attacked = Problem(victim, pixels(Inputs(images()), threat), Flip(labels), threat, keys, minimum_norm=True)
    for size in (0.3, 0.39, 0.2, 0.35, 0.1, 0.0):
        attacked.evaluate(torch.full_like(attacked.inputs.values, size))
        assert bool(attacked.alive().all())
    for row in range(ROWS):
        works = [
            size
            for size in (0.0, 0.1, 0.2, 0.3, 0.35, 0.39)
            if float(victim(Inputs(images()[row : row + 1] + size)).values[0].argmax())
        ]
        assert bool(attacked.best.success[row]) == bool(works)
        if works:
            assert float(attacked.space.norm(attacked.best.d)[row]) == pytest.approx(works[0])
    assert torch.equal(attacked.found, attacked.best.success)
