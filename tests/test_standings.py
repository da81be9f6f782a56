"""One way from rows to ranks and comparisons: a store's board and a static one of the same records say the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from stores import FACTS, SUITE, admitted, database, database_url, depot, with_accounts
from synthetic import CONTROL, IMAGE
from test_database import accept, board

from leaderboard.bundle.reading import open_bundle
from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import Database
from leaderboard.records.plan import Plan
from leaderboard.scoring.board import ScoredBoard, scored_board
from leaderboard.scoring.compare import compare
from leaderboard.scoring.rows import EntryRow, Origin, TaskLine
from leaderboard.server.stored import samples


__all__ = ["database", "database_url", "depot"]  # fixtures

ENTRIES = (
    ("weak", IMAGE, 8),
    ("strong", IMAGE, 33),
    ("close", IMAGE, 32),
    ("weak", CONTROL, 9),
    ("strong", CONTROL, 30),
)


def static(depot: Depot, bundles: list[str]) -> ScoredBoard:
    """The board of a run folder that holds the records of these bundles."""
    opened = [open_bundle(depot.bundle_path(one)) for one in bundles]
    results = {cell_id: result for one in opened for cell_id, result in one.records.items()}
    labels = {cell_id: label for one in opened for cell_id, label in one.manifest.plan.items()}
    threats = (FACTS.ranking_threats, FACTS.unrealisable_threats)
    return scored_board(Plan(SUITE, *threats, tuple(sorted(labels)), labels=labels), results, {})


def without_origin(row: TaskLine | EntryRow) -> Any:
    kind = EntryRow if isinstance(row, EntryRow) else TaskLine
    return msgspec.structs.replace(msgspec.convert(msgspec.to_builtins(row), kind), origin=Origin())


def test_a_served_board_is_the_static_one_of_the_same_records(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    bundles = []
    for name, task, right in ENTRIES:
        bundles.append(admitted(database, depot, tmp_path, name, task=task, right=right))
        accept(database, bundles[-1])
    served, (alone, outcomes) = board(database, depot), static(depot, bundles)
    assert [without_origin(row) for row in served.entries] == [without_origin(row) for row in alone.entries]
    assert served.tasks.keys() == alone.lines.keys()
    for task, lines in alone.lines.items():
        assert [without_origin(row) for row in served.tasks[task]] == [without_origin(row) for row in lines]
        assert {row.rank is None for row in lines} == {False}
    assert [row.rank is None for row in alone.entries] == [False, False, True]
    assert {(row.origin.level, row.origin.submitter) for row in served.entries} == {("re-run", "Ada")}
    state: Any = SimpleNamespace(database=database)
    for baseline in ("weak", "close"):
        stored = compare(SUITE, served.tasks, samples(state, served.tasks), baseline)
        assert stored == compare(SUITE, alone.lines, outcomes, baseline)
        assert stored.has_baseline
    gained = {one.entry: one.changes for one in compare(SUITE, alone.lines, outcomes, "weak").entries}
    change = next(one for one in gained["strong"] if one.task == IMAGE)
    assert change.effect == "helps"
    assert change.clean is not None
    assert (change.clean.estimate, change.clean.interval.low, change.clean.interval.high) == (0.0, 0.0, 0.0)


def test_the_least_that_is_known_of_an_entry_is_its_level_across_domains(
    database: Database, depot: Depot, tmp_path: Path
) -> None:
    with_accounts(database)
    for task, level in ((IMAGE, "re-run"), (CONTROL, "claimed")):
        accept(database, admitted(database, depot, tmp_path, "net", task=task), level)  # type: ignore[arg-type]
    found = board(database, depot)
    (row,) = found.entries
    assert (row.rank, row.origin.level, row.origin.bundle) == (None, "claimed", "")
    assert row.unranked == f"{CONTROL}: level claimed: only what was measured again here is ranked"
    assert {task: lines[0].rank is None for task, lines in found.tasks.items()} == {IMAGE: False, CONTROL: True}
