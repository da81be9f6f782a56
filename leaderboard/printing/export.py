"""A board as a flat table: CSV, Parquet or JSON, one row for each entry, task and threat, and at wish for each cell.

The columns and what they mean are on the page docs/pages.md; a column is never renamed, only added.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from leaderboard.printing import wording
from leaderboard.records.canonical import canonical_json
from leaderboard.scoring.rows import Board, CellRow, Figure, Spent, TaskBoard, TaskRow, ThreatRow


if TYPE_CHECKING:
    import pyarrow


EXPORT_VERSION: Final = 1

# Characters at which a spreadsheet begins a formula, or ends a cell.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


class ExportRow(msgspec.Struct, frozen=True, kw_only=True):
    """row is `threat`, the worst case over its attacks, or `cell`, one of them; what one does not have is None."""

    suite: str
    row: str
    entry: str
    task: str
    threat: str
    defense: str
    verification: str | None
    verdict: str
    ranking: bool
    realisable: bool
    rank_best: int | None = None
    rank_worst: int | None = None
    unranked: str | None = None
    overall_rank_best: int | None = None
    overall_rank_worst: int | None = None
    attack: str | None = None
    label: str | None = None
    params: str | None = None
    status: str | None = None
    reason: str | None = None
    counted: bool | None = None
    cell: str | None = None
    metric: str | None = None
    higher_is_better: bool | None = None
    value: float | None = None
    value_low: float | None = None
    value_high: float | None = None
    quality: float | None = None
    quality_low: float | None = None
    quality_high: float | None = None
    upper_bound: bool | None = None
    problems: str | None = None
    clean_value: float | None = None
    clean_quality: float | None = None
    retention: float | None = None
    retention_low: float | None = None
    retention_high: float | None = None
    examples: int | None = None
    forwards: int
    backwards: int
    queries: int
    environment_steps: int
    seconds: float | None = None
    peak_memory_bytes: int | None = None


COLUMNS: Final = tuple(ExportRow.__struct_fields__)


def export_rows(board: Board, *, cells: bool = False) -> list[ExportRow]:
    """The rows of a board, in its order. cells: whether each cell is a row, too."""
    overall = {row.entry: row.rank for row in board.entries}
    found = []
    for task in board.tasks:
        for row in task.rows:
            rank = overall.get(row.entry)
            shared = {
                "suite": board.suite,
                "entry": row.entry,
                "task": task.task,
                "defense": row.defense,
                "verification": row.origin.level or None,
                "verdict": wording.verdict(row),
                "overall_rank_best": rank.best if rank is not None else None,
                "overall_rank_worst": rank.worst if rank is not None else None,
            }
            found += list(_of_entry(task, row, shared, cells))
    return found


def csv_text(rows: Sequence[ExportRow]) -> str:
    """The rows as CSV with a heading. A text that a spreadsheet would take for a formula gets an apostrophe before."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")  # as RFC 4180 says; it also makes the writer quote either letter
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_csv_cell(value) for value in msgspec.structs.astuple(row)])
    return out.getvalue()


def json_bytes(suite: str, rows: Sequence[ExportRow]) -> bytes:
    """The rows as canonical JSON."""
    return canonical_json({"export": EXPORT_VERSION, "suite": suite, "columns": COLUMNS, "rows": rows})


def parquet_bytes(rows: Sequence[ExportRow]) -> bytes:
    """The rows as a Parquet file with typed columns. Needs pyarrow, which comes with `datasets`."""
    import pyarrow as arrow
    from pyarrow import parquet

    columns = {
        name: arrow.array([getattr(row, name) for row in rows], type=_arrow_type(arrow, kind))
        for name, kind in _types().items()
    }
    schema = arrow.schema(
        [arrow.field(name, column.type, nullable=True) for name, column in columns.items()],
        metadata={"robustarena.export": str(EXPORT_VERSION)},
    )
    out = io.BytesIO()
    parquet.write_table(arrow.table(columns, schema=schema), out, compression="zstd")
    return out.getvalue()


def _of_entry(task: TaskBoard, row: TaskRow, shared: dict[str, Any], cells: bool) -> Iterator[ExportRow]:
    shared["metric"] = task.metric.name if task.metric is not None else None
    shared["higher_is_better"] = task.metric.higher_is_better if task.metric is not None else None
    if cells:
        for cell in row.clean_cells:
            yield _of_cell(cell, shared, ranking=False, realisable=True)
    for threat in row.threats:
        yield _of_threat(row, threat, shared)
        if cells:
            for cell in threat.attacks:
                yield _of_cell(cell, shared, ranking=threat.ranking, realisable=threat.realisable)


def _of_threat(row: TaskRow, threat: ThreatRow, shared: dict[str, Any]) -> ExportRow:
    from leaderboard.scoring.cells import total

    rank = row.rank if threat.ranking else None
    kept = threat.retention_interval
    return ExportRow(
        **shared,
        row="threat",
        threat=threat.threat,
        ranking=threat.ranking,
        realisable=threat.realisable,
        rank_best=rank.best if rank is not None else None,
        rank_worst=rank.worst if rank is not None else None,
        unranked=(row.unranked or None) if threat.ranking else None,
        **_figure(threat.robust),
        upper_bound=bool(threat.problems),
        problems="; ".join(threat.problems) or None,
        clean_value=row.clean.metric if row.clean is not None else None,
        clean_quality=row.clean.quality if row.clean is not None else None,
        retention=threat.retention,
        retention_low=kept.low if kept is not None else None,
        retention_high=kept.high if kept is not None else None,
        **_spent(total(cell.spent for cell in threat.attacks)),
    )


def _of_cell(cell: CellRow, shared: dict[str, Any], *, ranking: bool, realisable: bool) -> ExportRow:
    return ExportRow(
        **shared,
        row="cell",
        threat=cell.threat,
        ranking=ranking,
        realisable=realisable,
        attack=cell.attack,
        label=cell.label,
        params=canonical_json(cell.params).decode("ascii").strip(),
        status=cell.status,
        reason=cell.reason or None,
        counted=cell.counted,
        cell=cell.id,
        **_figure(cell.figure),
        **_spent(cell.spent),
    )


def _figure(found: Figure | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "value": found.metric,
        "value_low": found.metric_interval.low,
        "value_high": found.metric_interval.high,
        "quality": found.quality,
        "quality_low": found.quality_interval.low,
        "quality_high": found.quality_interval.high,
        "examples": found.examples,
    }


def _spent(found: Spent) -> dict[str, Any]:
    counts = msgspec.structs.asdict(found.counts)
    return {**counts, "seconds": found.seconds, "peak_memory_bytes": found.peak_memory_bytes}


def _csv_cell(value: str | float | bool | None) -> str | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _types() -> dict[str, str]:
    """The kind of every column, from its annotation."""
    return {name: str(kind).removesuffix(" | None") for name, kind in ExportRow.__annotations__.items()}


def _arrow_type(arrow: Any, kind: str) -> pyarrow.DataType:
    return {"str": arrow.string(), "bool": arrow.bool_(), "int": arrow.int64(), "float": arrow.float64()}[kind]
