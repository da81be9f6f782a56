"""What the store holds of the entries of a published board: their rows, what ranks them, and their records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import select

from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import Bundle
from leaderboard.database.boards import PublicBoard
from leaderboard.database.models import StoredResult
from leaderboard.database.scoring import unpack
from leaderboard.database.verified import open_verified
from leaderboard.records.canonical import ResultError
from leaderboard.records.record import Result
from leaderboard.scoring.rows import Origin, TaskBoard, TaskLine, TaskRow
from leaderboard.scoring.samples import mismatch, sample_of
from leaderboard.scoring.standings import BoardSamples
from leaderboard.scoring.statistics import Sample
from leaderboard.server.state import ServerState


AT_ONCE: Final = 500  # rows of one query; databases bound how many values a query may name


def line_of(board: PublicBoard, task: str, entry: str) -> TaskLine | None:
    """An entry's line on a task."""
    return next((line for line in board.tasks[task] if line.entry == entry), None)


def task_rows(state: ServerState, lines: Sequence[TaskLine]) -> dict[str, TaskRow]:
    """The rows of some entries as they stand on the board, by bundle."""
    by_id = {line.origin.bundle: line for line in lines}
    found = {}
    with state.database.read() as session:
        for ids in _parts(list(by_id)):
            query = select(StoredResult.bundle, StoredResult.row).where(StoredResult.bundle.in_(ids))
            for bundle, row in session.execute(query):
                line = by_id[bundle]
                decoded = msgspec.json.decode(row, type=TaskRow)
                found[bundle] = msgspec.structs.replace(
                    decoded, rank=line.rank, unranked=line.unranked, origin=line.origin
                )
    return found


def samples(state: ServerState, lines: Mapping[str, Sequence[TaskLine]]) -> BoardSamples:
    """The outcomes of some entries, given by task. Nothing ranks those that have no rank."""
    robust: dict[str, dict[str, Sample]] = {task: {} for task in lines}
    clean: dict[str, dict[str, Sample]] = {task: {} for task in lines}
    places = {line.origin.bundle: (task, line) for task, here in lines.items() for line in here}
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    with state.database.read() as session:
        for ids in _parts(list(places)):
            query = select(StoredResult.bundle, StoredResult.sample, StoredResult.clean)
            for bundle, ranking, usual in session.execute(query.where(StoredResult.bundle.in_(ids))):
                task, line = places[bundle]
                if ranking and not line.unranked:
                    robust[task][line.entry] = unpack(ranking, known)
                if usual:
                    clean[task][line.entry] = unpack(usual, known)
    return BoardSamples(robust, clean)


def bundles_of(state: ServerState, origin: Origin) -> tuple[Bundle, ...]:
    """The entry's bundle and those that lowered it; none where one cannot be read any more."""
    try:
        with state.database.read() as session:
            return tuple(open_verified(session, state.depot, one) for one in (origin.bundle, *origin.stronger))
    except (BundleError, ResultError, OSError):
        return ()


def counted_records(row: TaskRow, bundles: Sequence[Bundle]) -> dict[str, Result]:
    """The records behind a row's figures, by cell: where several bundles hold a cell, the one that did most harm."""
    if not bundles:
        return {}
    found = {cell.id: bundles[0].records[cell.id] for cell in row.clean_cells if cell.id in bundles[0].records}
    clean = next((sample_of(one) for one in found.values() if one.status == "ok"), None)
    if clean is None:
        return found
    for cell in (cell for threat in row.threats for cell in threat.attacks if cell.counted):
        held = [one.records[cell.id] for one in bundles if cell.id in one.records]
        usable = [one for one in held if one.status == "ok" and _comparable(clean, sample_of(one))]
        if usable:
            found[cell.id] = min(usable, key=lambda one: sample_of(one).quality)
    return found


def reader(bundle: Bundle) -> Callable[[Result], bytes | None]:
    """Reads the adversarial examples of a record, where the bundle carries them."""
    return lambda result: bundle.evidence(result.id) if result.id in bundle.evidence_cells else None


def task_board(board: PublicBoard, task: str, rows: Sequence[TaskRow]) -> TaskBoard:
    """Some rows of a task's board as a static board holds them."""
    return TaskBoard(task, board.metrics.get(task), board.threats[task], tuple(rows))


def _comparable(clean: Sample, attacked: Sample) -> bool:
    return clean.metric == attacked.metric and not mismatch(clean, attacked)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[at : at + AT_ONCE] for at in range(0, len(ids), AT_ONCE))
