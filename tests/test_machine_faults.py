"""What a machine lacks is no verdict: another attempt may end otherwise, and nobody is refused at the first."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from forging import Honest, examples, judged, measured, replace, seen
from stores import admitted, with_accounts

from adversarial.errors import (
    AccessDenied,
    DataError,
    DeadlineReached,
    MissingDependency,
    ModelError,
    UnavailableData,
    is_machine_fault,
)
from benchmarks.running import measuring
from benchmarks.running.measuring import Measured, measure
from benchmarks.verifying import bundles as verifying
from benchmarks.verifying import cells as rechecking
from benchmarks.verifying.cells import measured_again
from leaderboard.bundle.reading import open_bundle
from leaderboard.database import jobs
from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import Database, open_database
from leaderboard.database.events import Circumstances
from leaderboard.database.requeue import requeue
from leaderboard.records.record import BUDGET_PREFIX, Result
from leaderboard.records.verdict import CellCheck, Verdict


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return measured(tmp_path_factory.mktemp("honest"), "image-digits", "mini@2", ("pgd",), 64)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path, f"sqlite:///{tmp_path}/board.sqlite3")
    with_accounts(opened)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("no space left"), True),
        (MemoryError(), True),
        (UnavailableData("changed"), True),
        (MissingDependency("no gymnasium"), True),
        (DataError("the evidence holds 3 examples"), False),
        (AccessDenied("labels only"), False),  # a PermissionError, by its name only
        (DeadlineReached("over"), False),  # and a TimeoutError
        (ModelError("no weights"), False),
        (RuntimeError("shapes"), False),
    ],
)
def test_what_is_a_machines_fault(error: BaseException, expected: bool) -> None:
    assert is_machine_fault(error) is expected


@pytest.mark.parametrize("error", [OSError("disk"), MemoryError("none left"), UnavailableData("changed")])
def test_no_verdict_where_the_machine_fails(
    error: Exception, honest: Honest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = honest.bundle(tmp_path)

    def broken(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(measuring, "_measure", broken)  # while a cell is measured again
        with pytest.raises(OSError, match=str(error)):
            judged(path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(verifying, "rescored", broken)
        with pytest.raises(type(error), match=str(error)):
            judged(path, 0)
    assert judged(path, 1).level == "re-run"


def test_a_cell_is_measured_again_however_slow_the_machine(honest: Honest) -> None:
    (planned,) = (one for one in honest.cells if one.id in honest.results and one.cell.attack != "none")
    hurried = dataclasses.replace(planned, timeout_seconds=1e-9)
    assert measure(hurried, honest.place).result.status == "timeout"
    before = CellCheck(planned.id, "", "re-scored")
    check = measured_again(honest.results[planned.id][0], hurried, before, honest.place)
    assert check.detail == "the same to the last digit"


def test_a_column_that_differs_a_little_is_corrected(
    honest: Honest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few examples better than they are would lift a curve: a board draws the worse of both."""
    name = f"{BUDGET_PREFIX}0.5"
    ids: list[str] = []

    def flattered(result: Result, data: bytes) -> tuple[Result, bytes]:
        if not data:
            return result, data
        found = examples(result)
        column = list(found.columns[name])
        broken = [row for row, value in enumerate(column) if not value][:3]
        ids.extend(found.ids[row] for row in broken)
        for row in broken:
            column[row] = 1.0
        return replace(result, examples=replace(found, columns={**found.columns, name: tuple(column)})), data

    path = honest.bundle(tmp_path, flattered)
    verdict = judged(path)
    assert verdict.level == "re-run", verdict.reasons
    (check,) = (cell for cell in verdict.cells if cell.columns)
    assert check.columns == {name: dict.fromkeys(ids, 0.0)}
    assert len(ids) == 3
    shown = examples(seen(path, verdict).records[check.id])
    assert shown == examples(honest.results[check.id][0])

    def none_broken(*_: object) -> Measured:
        result, data = flattered(*honest.results[check.id])
        return Measured(result, data, 0.0, 0)

    monkeypatch.setattr(rechecking, "measure", none_broken)  # nor does a lucky machine lift what is claimed
    again = measured_again(honest.results[check.id][0], _planned(honest, check.id), check, honest.place)
    assert not again.columns


def _planned(honest: Honest, cell_id: str) -> measuring.PlannedCell:
    (planned,) = (one for one in honest.cells if one.id == cell_id)
    return planned


def test_a_try_without_a_verdict_is_a_failed_one_until_the_entry_is_verified_once_more(
    database: Database, tmp_path: Path
) -> None:
    """A model may eat time or memory just where its record is forged, and be sent until other cells are drawn."""
    depot = Depot(tmp_path)

    def take() -> jobs.Taken:
        taken = database.transact(lambda session: jobs.take(session, "one"))
        assert taken is not None
        return taken

    lost = admitted(database, depot, tmp_path, "lost")
    database.transact(lambda session: jobs.fail(session, take(), "it ended with signal 9", most_attempts=1))
    with database.read() as session:
        (reason,) = json.loads(session.get_one(jobs.StoredEntry, lost).reasons)
    assert reason == "verification gave no verdict, tried once; the last time: it ended with signal 9"
    late = admitted(database, depot, tmp_path, "late")
    taken = take()
    assert (taken.bundle, taken.strikes) == (late, 1)
    verdict = Verdict(late, "refused", ("verification: it took longer than 3 seconds",))
    database.transact(lambda session: jobs.finish(session, taken, verdict, Circumstances()))
    manifest = open_bundle(depot.bundle_path(lost)).manifest
    database.transact(lambda session: requeue(session, manifest, lost))
    taken = take()
    assert (taken.bundle, taken.strikes) == (lost, 1), "only the late one's"
