"""The time left, against what runs really took: recorded seconds of each cell, in the order in which they ended.

The two runs of tests/recorded_runs.json were measured by one worker on one core: mini@1 on 60 examples, and three
tasks of mini@2 on 40. A row is task, model, attack, threat, parameters, limit, stage, whether it looks for the nearest,
further budgets, surrogates, whether it was planned as n/a, status, seconds.
"""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from rich.console import Console
from synthetic import ACCURACY, IMAGE, cell, examples

from benchmarks.running.cells import PlannedCell
from benchmarks.running.estimating import Estimate, expected
from benchmarks.running.measuring import Measured
from benchmarks.running.progress import RunProgress
from leaderboard.records.record import Result
from tasks import ENTRIES


PACES = {entry.name: entry.pace for entry in ENTRIES}
RECORDED = json.loads((Path(__file__).parent / "recorded_runs.json").read_text(encoding="utf-8"))


class Ended(NamedTuple):
    planned: PlannedCell
    status: Any
    seconds: float


def recorded(name: str, pace: float = 1.0) -> list[Ended]:
    """A recorded run, on a machine that is slower by a factor."""
    found = []
    for (
        task,
        model,
        attack,
        threat,
        params,
        limit,
        stage,
        nearest,
        further,
        surrogates,
        na,
        status,
        seconds,
    ) in RECORDED[name]:
        of = cell(model=model, attack=attack, threat=threat, params=params)
        of = msgspec.structs.replace(of, task=task, limit=limit)
        reason = "does not fit" if na else ""
        planned = PlannedCell(of, 600.0, pace=PACES[task], reason=reason, id=of.id, stage=stage)
        planned = dataclasses.replace(
            planned, minimum_norm=nearest, curve=(0.5,) * further, surrogates=("other",) * surrogates
        )
        found.append(Ended(planned, status, pace * seconds))
    return found


def errors(run: list[Ended]) -> list[float]:
    """After each cell from the second on: estimated over true seconds left, while there is a second left."""
    estimate, found = Estimate(), []
    for place, one in enumerate(run, 1):
        if one.status == "ok":
            estimate.ended(one.planned, one.seconds)
        left, truth = estimate.left(each.planned for each in run[place:]), sum(each.seconds for each in run[place:])
        assert (left is None) == (place == 1)
        if left is not None and truth > 1:
            found.append(left / truth)
    return found


@pytest.mark.parametrize(
    ("name", "pace", "share"),
    [
        ("mini@1-limit60", 1.0, 0.9),
        ("mini@1-limit60", 30.0, 0.9),
        ("mini@1-limit60", 0.2, 0.9),
        ("mini@2-limit40", 1.0, 0.7),
    ],
)
def test_the_time_left_is_right_within_a_factor_of_three_for_most_of_a_run(
    name: str, pace: float, share: float
) -> None:
    found = errors(recorded(name, pace))
    right = sum(1 / 3 <= error <= 3 for error in found)
    assert right >= share * len(found), [round(error, 2) for error in found]
    assert max(found) < 8, "never a night for minutes"


def test_the_second_cell_is_enough_to_tell_minutes_from_hours() -> None:
    assert 1 / 3 < errors(recorded("mini@1-limit60"))[0] < 3


def test_the_first_cell_of_each_worker_says_nothing() -> None:
    """It is loading for the most part: libraries, data and the model."""
    first, second, third, *_ = recorded("mini@1-limit60")
    estimate = Estimate(workers=2)
    estimate.ended(first.planned, 500.0)
    estimate.ended(second.planned, 500.0)
    assert estimate.left([third.planned]) is None
    estimate.ended(third.planned, expected(third.planned))
    assert estimate.left([third.planned]) == pytest.approx(expected(third.planned))


def test_cells_that_do_not_apply_take_no_time() -> None:
    run = recorded("mini@1-limit60")
    estimate = Estimate()
    for one in run[:3]:
        estimate.ended(one.planned, one.seconds)
    barred = [one.planned for one in run if one.planned.reason]
    assert barred
    assert estimate.left(barred) == 0.0


def test_a_trial_takes_as_long_as_on_other_models() -> None:
    run = [one for one in recorded("mini@1-limit60") if one.planned.cell.attack == "pgd" and not one.planned.reason]
    estimate = Estimate(workers=0)
    estimate.ended(run[0].planned, 100.0)
    estimate.ended(run[1].planned, 300.0)
    assert estimate.left([run[2].planned]) == pytest.approx(200.0)


def test_what_a_run_prints() -> None:
    run = recorded("mini@1-limit60")
    stream = io.StringIO()
    with RunProgress(Console(file=stream, width=200), [one.planned for one in run], workers=1) as progress:
        for one in run:
            progress.started(one.planned)
            facts: Any = (
                {"metric": ACCURACY, "examples": examples(IMAGE, [1.0])} if one.status == "ok" else {"reason": "x"}
            )
            result = Result(one.planned.id, one.planned.cell, one.status, **facts)
            progress.finished(one.planned, Measured(result, b"", one.seconds, 0))
    lines = stream.getvalue().splitlines()
    assert len(lines) == len(run)
    told = [re.search(r", (\d+):(\d\d) left$", line) for line in lines]
    assert told[0] is None
    assert told[-1] is None
    assert all(told[1:-1])
    assert all(int(match[1]) == 0 or (int(match[1]), int(match[2])) < (2, 0) for match in told if match is not None)
