"""Wrappers that only look robust have no rank, and honest models keep theirs: the whole way from a model to its row."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_sources import load_model

from benchmarks.catalog import catalog
from benchmarks.running.cells import ModelRef
from benchmarks.running.measuring import measure
from benchmarks.running.planning import Settings, as_plan, plan_cells
from benchmarks.running.workplace import Workplace
from benchmarks.suites.mini_1 import SUITE as MINI_1
from leaderboard.scoring.scores import TaskScore, score


TASK, LIMIT = "image-digits", 60
ZOO = Path(__file__).parent / "zoo.py"
MASKED = ("four_levels", "times_30", "times_10000", "times_a_billionth")
SILENT = ("detached", "jpeg_detached", "jpeg_declared", "declared")
FICKLE = {
    "other_with_gradients": "depends-on-gradients",
    "other_after_a_while": "depends-on-gradients",
    "other_off_the_grid": "depends-on-gradients",
    "noise_off_the_grid": "not-deterministic",
    "neighbours": "batched-not-single",
    "dropout_on": "not-deterministic",
    "noise_on": "not-deterministic",
}
HONEST = ("undefended", "quantised_weights", "pruned", "gelu", "tanh")

pytestmark = pytest.mark.slow


def measured(model: str) -> TaskScore:
    """The zoo's model on the first examples under all trials of the suite."""
    source = f"python:{ZOO}:{model}"
    loaded = load_model(source, TASK)
    settings = Settings(limit=LIMIT)
    models = {TASK: [ModelRef(model, loaded.hash, "none", source=source)]}
    cells = plan_cells(MINI_1, catalog(), settings, models=models)
    place = Workplace(sources={(TASK, model): source})
    done = [measure(cell, place) for cell in cells]
    assert not any(one.trace for one in done), [one.trace for one in done if one.trace]
    (found,) = score(as_plan(MINI_1, cells, settings), {one.result.id: one.result for one in done}, {})
    return found


def unranked(found: TaskScore) -> str:
    return found.unranked(MINI_1.ranking_threats[TASK])


@pytest.mark.parametrize("model", MASKED)
def test_masked_gradients_are_suspect(model: str) -> None:
    """Each is as weak as the undefended model, which the same attacks bring to 0.2."""
    found = measured(model)
    assert unranked(found).startswith("suspect: ")
    assert found.clean is not None
    assert found.clean.quality > 0.9


@pytest.mark.parametrize("model", SILENT)
def test_what_answers_no_search_has_an_upper_bound_and_no_rank(model: str) -> None:
    found = measured(model)
    assert unranked(found).startswith("no search on the model itself applies; ")
    robust = found.threat(MINI_1.ranking_threats[TASK])
    assert robust is not None
    assert not robust.complete
    assert robust.robust is not None  # noise is counted all the same


@pytest.mark.parametrize("model", FICKLE)
def test_answers_that_depend_on_more_than_the_input_are_invalid(model: str) -> None:
    assert FICKLE[model] in unranked(measured(model)).removeprefix("invalid: ").split(", ")


@pytest.mark.parametrize("model", HONEST)
def test_honest_models_keep_their_rank(model: str) -> None:
    found = measured(model)
    assert unranked(found) == ""
    assert found.findings == ()
    robust = found.threat(MINI_1.ranking_threats[TASK])
    assert robust is not None
    assert robust.robust is not None
    assert robust.robust.quality < 0.4


@pytest.mark.parametrize("task", [task.name for task in catalog().tasks()])
def test_the_references_of_every_task_keep_their_rank(task: str) -> None:
    settings = Settings(limit=6 if task.startswith("control") else 24)  # an episode is 500 decisions
    cells = [cell for cell in plan_cells(MINI_1, catalog(), settings) if cell.cell.task == task]
    done = {cell.id: measure(cell).result for cell in cells}
    for found in score(as_plan(MINI_1, cells, settings), done, {}):
        assert found.unranked(MINI_1.ranking_threats[task]) == "", found.entry
        assert not found.concerning(MINI_1.ranking_threats[task])
