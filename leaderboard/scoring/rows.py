"""The rows of a board: all that the terminal table, the page and `--json` show, as plain frozen data."""

from __future__ import annotations

from typing import Literal

import msgspec

from leaderboard.records.metric import Metric
from leaderboard.records.record import Cost, Scalar, Status
from leaderboard.scoring.diagnostics import EntryFinding, Reliability
from leaderboard.scoring.statistics import Interval, RankInterval


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A metric and its quality in [0, 1] with 95% intervals; columns: further sums per unit of weight."""

    metric: float
    metric_interval: Interval
    quality: float
    quality_interval: Interval
    examples: int
    columns: dict[str, float] = {}


class CurvePoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Robust quality at a share of a threat's budget: 0 is the clean pass, 1 the threat itself."""

    share: float
    quality: float
    quality_interval: Interval


class Spent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What measuring cost. seconds and peak_memory_bytes are None where the journal does not know."""

    counts: Cost
    seconds: float | None
    peak_memory_bytes: int | None


class CellRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cell. label tells apart the cells of one attack; counted: whether it is part of the worst case."""

    id: str
    label: str
    attack: str
    params: dict[str, Scalar]
    threat: str
    status: Status | Literal["missing"]
    reason: str
    figure: Figure | None
    counted: bool
    spent: Spent


class ThreatRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry under one threat. Where problems are named, the robust quality is an upper bound."""

    threat: str
    ranking: bool
    realisable: bool
    robust: Figure | None
    retention: float | None
    retention_interval: Interval | None
    problems: tuple[str, ...]
    attacks: tuple[CellRow, ...]
    curve: tuple[CurvePoint, ...] = ()


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an entry comes from, as far as a board knows; a board of a run folder knows no more than the level.

    level: what verification reached, or `reference` for a model that ships. bundle: its id. stronger: bundles of others
    whose attacks lowered the entry.
    """

    level: str = ""
    submitter: str = ""
    bundle: str = ""
    url: str = ""
    licence: str = ""
    stronger: tuple[str, ...] = ()


class TaskLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a listing shows of one entry on one task. robust: under the threat that ranks; bound: it is this or less.

    unranked: why it has no rank; empty where it has one. Reads from the JSON of a TaskRow, and passes over the rest.
    """

    entry: str
    defense: str
    clean: Figure | None
    robust: Figure | None
    bound: bool
    retention: float | None
    rank: RankInterval | None
    unranked: str
    verdict: Reliability
    spent: Spent
    origin: Origin = Origin()


class TaskRow(TaskLine, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry on one task, with all that its line was worked out from."""

    clean_cells: tuple[CellRow, ...]
    threats: tuple[ThreatRow, ...]
    findings: tuple[EntryFinding, ...]

    @property
    def ranking(self) -> ThreatRow | None:
        """The threat that ranks the task."""
        return next((row for row in self.threats if row.ranking), None)

    @property
    def cells(self) -> tuple[CellRow, ...]:
        """Every cell of the row, the clean pass first."""
        return self.clean_cells + tuple(one for row in self.threats for one in row.attacks)


class TaskBoard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One task, its rows from the best to the last. metric is None where nothing was measured."""

    task: str
    metric: Metric | None
    ranking_threat: str
    rows: tuple[TaskRow, ...]

    def row(self, entry: str) -> TaskRow | None:
        """The row of an entry, None where the plan has no cell of it on this task."""
        return next((row for row in self.rows if row.entry == entry), None)


class EntryRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry across domains: mean qualities over all tasks, None where a task has none.

    bound: some robust quality is only an upper bound, and so is the mean. unranked: why there is no rank. verdict,
    origin: the worst of those on its tasks.
    """

    entry: str
    clean: float | None
    clean_interval: Interval | None
    robust: float | None
    robust_interval: Interval | None
    bound: bool
    retention: float | None
    rank: RankInterval | None
    unranked: str
    verdict: Reliability
    spent: Spent
    origin: Origin = Origin()


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A suite's leaderboard: the entries across domains, then each task."""

    suite: str
    entries: tuple[EntryRow, ...]
    tasks: tuple[TaskBoard, ...]

    @property
    def lines(self) -> dict[str, tuple[TaskRow, ...]]:
        """The rows of each task."""
        return {task.task: task.rows for task in self.tasks}
