"""Running cells into a folder: what is done is skipped, what ends is written, whatever it was."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from benchmarks.running.cells import PlannedCell
from benchmarks.running.executors import Executor
from benchmarks.running.measuring import Measured
from benchmarks.running.workplace import Workplace
from leaderboard.records.plan import JournalEntry
from leaderboard.records.record import Result
from leaderboard.records.run_folder import RunFolder


FINAL = ("ok", "n/a")  # failed and timed-out cells are tried again by the next run


class Progress(Protocol):
    """Who is told how the run goes."""

    def started(self, planned: PlannedCell) -> None: ...

    def finished(self, planned: PlannedCell, measured: Measured) -> None: ...


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run went. skipped: cells that earlier runs had measured. statuses: of the cells of this run."""

    skipped: int
    statuses: dict[str, int]

    @property
    def clean(self) -> bool:
        """Whether no cell failed or ran out of time."""
        return not (self.statuses.get("failed", 0) or self.statuses.get("timeout", 0))


def missing(cells: Sequence[PlannedCell], folder: RunFolder) -> list[PlannedCell]:
    """The cells without a final record; raises ResultError for a record that is corrupt."""
    left = []
    for planned in cells:
        result = folder.read_result(planned.id)
        if result is None or result.status not in FINAL:
            left.append(planned)
    return left


def run_cells(
    cells: Sequence[PlannedCell], place: Workplace, folder: RunFolder, executor: Executor, progress: Progress
) -> Summary:
    """Measures what is missing. Raises StoreError where the folder cannot be written, and ResultError."""
    todo = missing(cells, folder)
    statuses: Counter[str] = Counter()
    for planned, measured in executor.run(todo, place, progress.started):
        statuses[measured.result.status] += 1
        keep(folder, planned, measured)
        progress.finished(planned, measured)
    return Summary(skipped=len(cells) - len(todo), statuses=dict(statuses))


def keep(folder: RunFolder, planned: PlannedCell, measured: Measured) -> Result:
    """Writes evidence, record and journal line, in this order: a record never names a file that is not there."""
    result = measured.result
    if measured.evidence:
        digest = folder.write_artifact(planned.id, measured.evidence)
        result = msgspec.structs.replace(result, artifacts={f"{planned.id}.safetensors": digest})
    folder.write_result(result)
    folder.append_journal(
        JournalEntry(
            id=planned.id,
            label=planned.cell.label,
            status=result.status,
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            seconds=round(measured.seconds, 3),
            peak_memory_bytes=measured.peak_memory_bytes,
        )
    )
    return result


def with_timeout(cells: Sequence[PlannedCell], seconds: float | None) -> list[PlannedCell]:
    """The cells with another time limit; the limit is no part of their identity."""
    return list(cells) if seconds is None else [replace(cell, timeout_seconds=seconds) for cell in cells]
