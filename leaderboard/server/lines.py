"""What the pages list of a published board: each entry as one line."""

from __future__ import annotations

from leaderboard.database.boards import Across, Line, PublicBoard, Value
from leaderboard.pages.lines import AcrossLine, Quality, TaskLine
from leaderboard.pages.links import file_key
from leaderboard.scoring.statistics import Interval


def across_lines(board: PublicBoard) -> tuple[AcrossLine, ...]:
    """Every entry of a board as its page lists it."""
    robust = {
        (task, line.entry): _quality(line.robust, line.bound) for task, lines in board.tasks.items() for line in lines
    }
    return tuple(
        AcrossLine(
            entry=one.entry,
            key=file_key(one.entry),
            rank=one.rank,
            unranked=one.unranked,
            verdict=_verdict(one),
            tasks={task: found for task in one.tasks if (found := robust[task, one.entry]) is not None},
            robust=_mean(one.robust, one.robust_interval, one.bound),
            clean=_mean(one.clean, one.clean_interval),
            retention=one.retention,
            level=one.level,
            submitter=one.submitter,
        )
        for one in board.across
    )


def task_lines(board: PublicBoard, task: str) -> tuple[TaskLine, ...]:
    """Every entry of a task's board as its page lists it."""
    return tuple(
        TaskLine(
            entry=one.entry,
            key=file_key(one.entry),
            rank=one.rank,
            unranked=one.unranked,
            verdict=_verdict(one),
            defense=one.defense,
            robust=_quality(one.robust, one.bound),
            robust_metric=one.robust.metric if one.robust is not None else None,
            clean=_quality(one.clean),
            clean_metric=one.clean.metric if one.clean is not None else None,
            retention=one.retention,
            level=one.level,
            submitter=one.submitter,
            stronger=len(one.stronger),
        )
        for one in board.tasks.get(task, ())
    )


def _verdict(line: Line | Across) -> str:
    """As wording.verdict: an entry without a rank is not called reliable."""
    return "incomplete" if line.unranked and line.verdict == "reliable" else line.verdict


def _quality(value: Value | None, bound: bool = False) -> Quality | None:
    return None if value is None else Quality(value.quality, value.quality_interval, bound)


def _mean(value: float | None, interval: Interval | None, bound: bool = False) -> Quality | None:
    return None if value is None or interval is None else Quality(value, interval, bound)
