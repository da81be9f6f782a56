"""What the store holds of the entries of a published board: their rows, what ranks them, and their records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec
from sqlalchemy import select

from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import Bundle
from leaderboard.database.boards import Across, Line, PublicBoard
from leaderboard.database.models import StoredResult
from leaderboard.database.scoring import unpack
from leaderboard.database.verified import open_verified
from leaderboard.records.canonical import ResultError
from leaderboard.records.record import Result
from leaderboard.scoring.outcomes import mismatch, outcome
from leaderboard.scoring.rows import Board, EntryRow, TaskBoard, TaskRow
from leaderboard.scoring.statistics import Sample
from leaderboard.server.state import ServerState


AT_ONCE: Final = 500  # rows of one query; databases bound how many values a query may name


def line_of(board: PublicBoard, task: str, entry: str) -> Line | None:
    """An entry's line on a task."""
    return next((line for line in board.tasks[task] if line.entry == entry), None)


def task_rows(state: ServerState, lines: Sequence[Line]) -> dict[str, TaskRow]:
    """The rows of some entries with their ranks, by bundle."""
    by_id = {line.id: line for line in lines}
    found = {}
    with state.database.read() as session:
        for ids in _parts(list(by_id)):
            query = select(StoredResult.bundle, StoredResult.row).where(StoredResult.bundle.in_(ids))
            for bundle, row in session.execute(query):
                line = by_id[bundle]
                decoded = msgspec.json.decode(row, type=TaskRow)
                found[bundle] = msgspec.structs.replace(decoded, rank=line.rank, unranked=line.unranked)
    return found


def samples(state: ServerState, lines: Sequence[Line]) -> dict[str, Sample]:
    """What ranks each of some entries, by bundle; those that nothing ranks are left out."""
    found = {}
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    with state.database.read() as session:
        for ids in _parts([line.id for line in lines if not line.unranked]):
            query = select(StoredResult.bundle, StoredResult.sample).where(StoredResult.bundle.in_(ids))
            found.update({bundle: unpack(sample, known) for bundle, sample in session.execute(query) if sample})
    return found


def bundles_of(state: ServerState, line: Line) -> tuple[Bundle, ...]:
    """The entry's bundle and those that lowered it; none where one cannot be read any more."""
    try:
        with state.database.read() as session:
            return tuple(open_verified(session, state.depot, one) for one in (line.id, *line.stronger))
    except (BundleError, ResultError, OSError):
        return ()


def counted_records(row: TaskRow, bundles: Sequence[Bundle]) -> dict[str, Result]:
    """The records behind a row's figures, by cell: where several bundles hold a cell, the one that did most harm."""
    if not bundles:
        return {}
    found = {cell.id: bundles[0].records[cell.id] for cell in row.clean_cells if cell.id in bundles[0].records}
    clean = next((outcome(one).sample for one in found.values() if one.status == "ok"), None)
    if clean is None:
        return found
    for cell in (cell for threat in row.threats for cell in threat.attacks if cell.counted):
        held = [one.records[cell.id] for one in bundles if cell.id in one.records]
        usable = [one for one in held if one.status == "ok" and _comparable(clean, outcome(one).sample)]
        if usable:
            found[cell.id] = min(usable, key=lambda one: outcome(one).sample.quality)
    return found


def reader(bundle: Bundle) -> Callable[[Result], bytes | None]:
    """Reads the adversarial examples of a record, where the bundle carries them."""
    return lambda result: bundle.evidence(result.id) if result.id in bundle.evidence_cells else None


def entry_row(line: Across) -> EntryRow:
    """An entry over all tasks as a static board holds it."""
    return EntryRow(
        entry=line.entry,
        clean=line.clean,
        clean_interval=line.clean_interval,
        robust=line.robust,
        robust_interval=line.robust_interval,
        bound=line.bound,
        retention=line.retention,
        rank=line.rank,
        unranked=line.unranked,
        verdict=line.verdict,  # type: ignore[arg-type]
    )


def task_board(board: PublicBoard, task: str, rows: Sequence[TaskRow]) -> TaskBoard:
    """Some rows of a task's board as a static board holds them."""
    return TaskBoard(task, board.metrics.get(task), board.threats[task], tuple(rows))


def board_of_one(state: ServerState, board: PublicBoard, across: Across) -> Board:
    """A board of one entry, with the ranks that it has among all."""
    lines = {task: line for task in board.tasks if (line := line_of(board, task, across.entry)) is not None}
    rows = task_rows(state, list(lines.values()))
    tasks = [task_board(board, task, [rows[line.id]]) for task, line in lines.items() if line.id in rows]
    return Board(board.suite, (entry_row(across),), tuple(tasks))


def _comparable(clean: Sample, attacked: Sample) -> bool:
    return clean.metric == attacked.metric and not mismatch(clean, attacked)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + AT_ONCE] for at in range(0, len(ids), AT_ONCE))
