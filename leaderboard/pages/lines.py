"""What a board shows of an entry: plain data that records and a database's rows both become."""

from __future__ import annotations

import msgspec

from leaderboard.pages.links import file_key
from leaderboard.printing.wording import verdict
from leaderboard.scoring.rows import Board, EntryRow, Figure, Spent, TaskBoard, TaskRow
from leaderboard.scoring.statistics import Interval, RankInterval


class Quality(msgspec.Struct, frozen=True):
    """A quality in [0, 1] with its 95% interval; bound: it is this or less."""

    value: float
    interval: Interval
    bound: bool = False


class AcrossLine(msgspec.Struct, frozen=True):
    """One entry across domains. key: what links to it. level: of its verification, empty where none is told.

    tasks: its robust quality by task. unranked: why it has no rank, empty where it has one.
    """

    entry: str
    key: str
    rank: RankInterval | None
    unranked: str
    verdict: str
    tasks: dict[str, Quality]
    robust: Quality | None
    clean: Quality | None
    retention: float | None
    level: str = ""
    submitter: str = ""
    spent: Spent | None = None


class TaskLine(msgspec.Struct, frozen=True):
    """One entry on one task. robust, clean: quality; metrics: the same in the task's own unit, as it reads.

    stronger: how many bundles of others lowered its quality.
    """

    entry: str
    key: str
    rank: RankInterval | None
    unranked: str
    verdict: str
    defense: str
    robust: Quality | None
    robust_metric: float | None
    clean: Quality | None
    clean_metric: float | None
    retention: float | None
    level: str = ""
    submitter: str = ""
    stronger: int = 0
    spent: Spent | None = None


def across_lines(board: Board, levels: dict[str, str] | None = None) -> tuple[AcrossLine, ...]:
    """The entries of a board, in its order. levels: of verification, by entry."""
    return tuple(_across(row, board, (levels or {}).get(row.entry, "")) for row in board.entries)


def task_lines(task: TaskBoard, levels: dict[str, str] | None = None) -> tuple[TaskLine, ...]:
    """The entries of a task's board, in its order."""
    return tuple(_task(row, (levels or {}).get(row.entry, "")) for row in task.rows)


def quality_of(figure: Figure | None, bound: bool = False) -> Quality | None:
    """The quality of a figure, None where there is none."""
    return None if figure is None else Quality(figure.quality, figure.quality_interval, bound)


def _across(row: EntryRow, board: Board, level: str) -> AcrossLine:
    places = {task.task: found for task in board.tasks if (found := task.row(row.entry)) is not None}
    tasks = {name: quality for name, place in places.items() if (quality := _robust(place)) is not None}
    return AcrossLine(
        entry=row.entry,
        key=file_key(row.entry),
        rank=row.rank,
        unranked=row.unranked,
        verdict=verdict(row),
        tasks=tasks,
        robust=_mean(row.robust, row.robust_interval, row.bound),
        clean=_mean(row.clean, row.clean_interval, False),
        retention=row.retention,
        level=level,
        spent=_sum([place.spent for place in places.values()]),
    )


def _task(row: TaskRow, level: str) -> TaskLine:
    ranking = row.ranking
    robust = ranking.robust if ranking is not None else None
    return TaskLine(
        entry=row.entry,
        key=file_key(row.entry),
        rank=row.rank,
        unranked=row.unranked,
        verdict=verdict(row),
        defense=row.defense,
        robust=_robust(row),
        robust_metric=robust.metric if robust is not None else None,
        clean=quality_of(row.clean),
        clean_metric=row.clean.metric if row.clean is not None else None,
        retention=ranking.retention if ranking is not None else None,
        level=level,
        spent=row.spent,
    )


def _robust(row: TaskRow) -> Quality | None:
    ranking = row.ranking
    return quality_of(ranking.robust, bool(ranking.problems)) if ranking is not None else None


def _mean(value: float | None, interval: Interval | None, bound: bool) -> Quality | None:
    return None if value is None or interval is None else Quality(value, interval, bound)


def _sum(spent: list[Spent]) -> Spent | None:
    from leaderboard.scoring.measurements import total

    return total(spent) if spent else None
