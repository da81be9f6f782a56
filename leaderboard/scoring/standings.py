"""From the entries of each task to ranks, order and the rows across domains: the same way for every board."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, get_args

from msgspec.structs import replace

from leaderboard.records.verdict import VerdictLevel
from leaderboard.scoring.cells import total
from leaderboard.scoring.diagnostics import worst_verdict
from leaderboard.scoring.rows import EntryRow, Figure, Origin, TaskLine
from leaderboard.scoring.statistics import Interval, RankInterval, Sample, mean_interval


AnyLine = TypeVar("AnyLine", bound=TaskLine)
ByTask = Mapping[str, Mapping[str, Sample]]

_LEVELS: Final = ("", *get_args(VerdictLevel), "reference")  # from the least that is known of an entry to the most


class Ranks(Protocol):
    """Tells the rank intervals of entries by their samples, one a task. task: which, empty where it is all of them."""

    def __call__(self, task: str, entries: Mapping[str, Sequence[Sample]], /) -> Mapping[str, RankInterval]: ...


@dataclass(frozen=True, slots=True)
class BoardSamples:
    """Per-example outcomes behind a board, by task and entry. robust: what ranks; entries that nothing ranks are left
    out. clean: the clean passes."""

    robust: ByTask = field(default_factory=dict)
    clean: ByTask = field(default_factory=dict)


def ranked(
    lines: Mapping[str, Sequence[AnyLine]], robust: ByTask, ranks: Ranks
) -> tuple[tuple[EntryRow, ...], dict[str, tuple[AnyLine, ...]]]:
    """The entries across domains, and those of each task, with their ranks and from the best to the last.

    lines: of every task that has entries. robust: what ranks them.
    """
    found = {task: ranks(task, {entry: [sample] for entry, sample in robust.get(task, {}).items()}) for task in lines}
    placed = {
        task: tuple(sorted((replace(one, rank=found[task].get(one.entry)) for one in here), key=_order_of_line))
        for task, here in lines.items()
    }
    places: dict[str, dict[str, TaskLine]] = defaultdict(dict)
    for task, here in placed.items():
        for one in here:
            places[one.entry][task] = one
    everywhere = {
        entry: [robust[task][entry] for task in lines]
        for entry in places
        if all(entry in robust.get(task, {}) for task in lines)
    }
    # One task's board is the board across all tasks.
    across = found[next(iter(lines))] if len(lines) == 1 else ranks("", everywhere)
    rows = [_entry_row(entry, held, tuple(lines), across.get(entry)) for entry, held in places.items()]
    return tuple(sorted(rows, key=lambda row: _order(row.rank, row.robust, row.entry))), placed


def _entry_row(entry: str, held: Mapping[str, TaskLine], tasks: Sequence[str], rank: RankInterval | None) -> EntryRow:
    robust, robust_interval = _mean([held[task].robust if task in held else None for task in tasks])
    clean, clean_interval = _mean([held[task].clean if task in held else None for task in tasks])
    reasons = [
        f"{task}: {held[task].unranked if task in held else 'not measured'}"
        for task in tasks
        if task not in held or held[task].unranked
    ]
    return EntryRow(
        entry=entry,
        clean=clean,
        clean_interval=clean_interval,
        robust=robust,
        robust_interval=robust_interval,
        bound=any(line.bound for line in held.values()),
        retention=robust / clean if robust is not None and clean else None,
        rank=rank,
        unranked="; ".join(reasons),
        verdict=worst_verdict(line.verdict for line in held.values()),
        spent=total(line.spent for line in held.values()),
        origin=_origin([line.origin for line in held.values()]),
    )


def _origin(origins: Sequence[Origin]) -> Origin:
    """Whose the entry is, and the least that verification reached on any task."""
    level = min((one.level for one in origins), key=_LEVELS.index)
    return Origin(level=level, submitter=origins[0].submitter)


def _mean(figures: Sequence[Figure | None]) -> tuple[float | None, Interval | None]:
    """The mean quality, or nothing where one is missing: a mean over fewer tasks cannot be compared."""
    found = [one for one in figures if one is not None]
    if not found or len(found) < len(figures):
        return None, None
    qualities = [one.quality for one in found]
    return sum(qualities) / len(found), mean_interval(qualities, [one.quality_interval for one in found])


def _order_of_line(line: TaskLine) -> tuple[float, float, float, str]:
    return _order(line.rank, line.robust.quality if line.robust is not None else None, line.entry)


def _order(rank: RankInterval | None, robust: float | None, entry: str) -> tuple[float, float, float, str]:
    """Ranked entries first, then by robust quality; the name only makes the order definite."""
    best, worst = (rank.best, rank.worst) if rank is not None else (math.inf, math.inf)
    return best, worst, -robust if robust is not None else math.inf, entry
