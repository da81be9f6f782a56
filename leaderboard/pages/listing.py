"""A board as one compact table: the page shows its first rows, its script sorts, filters and searches all of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from leaderboard.pages.links import Links, file_key
from leaderboard.printing import wording
from leaderboard.records.metric import Metric
from leaderboard.scoring.rows import EntryRow, Figure, Spent, TaskLine
from leaderboard.scoring.statistics import Interval, RankInterval


SHOWN: Final = 100  # rows of a page; the rest waits in the table

ColumnKind = Literal["rank", "entry", "word", "quality", "number"]
TableCell = tuple[Any, ...]


class Column(msgspec.Struct, frozen=True):
    """kind says how its cells are built. filtered: whether a page offers a choice of its words."""

    key: str
    label: str
    kind: ColumnKind
    filtered: bool = False


class Listing(msgspec.Struct, frozen=True):
    """Cells by kind:

    rank: (order or None, text, how many share it). entry: (name, note, key). word: (text,). number: (value or None,
    text). quality: (value or None, text, low, high), the interval with two decimals.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[TableCell, ...], ...]

    @property
    def searchable(self) -> bool:
        """Whether there is anything to choose from."""
        return len(self.rows) > 1


_NO_QUALITY: Final[TableCell] = (None, wording.NOTHING, 0, 0)
_FIRST: Final = (Column("rank", "rank", "rank"), Column("entry", "entry", "entry"))


def across_listing(entries: Sequence[EntryRow], lines: Mapping[str, Sequence[TaskLine]]) -> Listing:
    """The board across domains. lines: of the same entries, by task."""
    robust = {(task, line.entry): _figure(line.robust, line.bound) for task, here in lines.items() for line in here}
    columns = [
        *_FIRST,
        Column("robust", "mean robust", "quality"),
        *(Column(f"task-{number}", task, "quality") for number, task in enumerate(lines, 1)),
        Column("clean", "mean clean", "quality"),
        Column("kept", "kept", "number"),
        *_trust(entries),
        *_costs(entries),
    ]
    ties = _ties(entries)
    rows = []
    for row in entries:
        cells = {
            **_shared(row, row.origin.submitter, ties[row.rank]),
            **{f"task-{number}": robust.get((task, row.entry), _NO_QUALITY) for number, task in enumerate(lines, 1)},
            "robust": _quality(row.robust, row.robust_interval, row.bound),
            "clean": _quality(row.clean, row.clean_interval),
        }
        rows.append(tuple(cells[column.key] for column in columns))
    return Listing(tuple(columns), tuple(rows))


def task_listing(lines: Sequence[TaskLine], metric: Metric | None) -> Listing:
    """The board of one task; accuracies need no second column, as their quality is the same number."""
    same = metric is None or (metric.floor, metric.ceiling) == (0.0, 1.0)
    name = metric.name if metric is not None else "metric"
    columns = [
        *_FIRST,
        Column("robust", "robust quality", "quality"),
        Column("clean", "clean quality", "quality"),
        Column("kept", "kept", "number"),
        *(() if same else (Column("worst", f"worst {name}", "number"), Column("usual", f"clean {name}", "number"))),
        *_trust(lines),
        Column("defense", "defense", "word", filtered=True),
        *_costs(lines),
    ]
    mark = "≤" if metric is None or metric.higher_is_better else "≥"
    ties = _ties(lines)
    rows = []
    for line in lines:
        stronger = len(line.origin.stronger)
        lowered = f"lowered by {stronger} stronger attacks" if stronger else ""
        cells = {
            **_shared(line, ", ".join(filter(None, (line.origin.submitter, lowered))), ties[line.rank]),
            "robust": _figure(line.robust, line.bound),
            "clean": _figure(line.clean),
            "defense": (line.defense,),
            "worst": _metric(line.robust, mark if line.bound else ""),
            "usual": _metric(line.clean),
        }
        rows.append(tuple(cells[column.key] for column in columns))
    return Listing(tuple(columns), tuple(rows))


def table_json(listing: Listing, links: Links) -> str:
    """The table for the script, as JSON that may stand in a page: no character of it can end an element."""
    plain = {
        "shown": SHOWN,
        "entry": links.entry,
        "compare": links.compare,
        "pairs": sorted(links.pairs) if links.pairs is not None else None,
        "columns": [
            {"key": one.key, "label": one.label, "kind": one.kind, "filtered": one.filtered} for one in listing.columns
        ],
        "rows": listing.rows,
    }
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def words_of(listing: Listing, column: Column) -> list[str]:
    """The different words of a column, for its filter; too many to choose from are none."""
    place = listing.columns.index(column)
    found = sorted({row[place][0] for row in listing.rows} - {""})
    return found if 1 < len(found) <= 40 else []


def _trust(rows: Sequence[EntryRow | TaskLine]) -> tuple[Column, ...]:
    verdict = Column("verdict", "verdict", "word", filtered=True)
    if not any(row.origin.level for row in rows):
        return (verdict,)
    return (Column("level", "verification", "word", filtered=True), verdict)


def _costs(rows: Sequence[EntryRow | TaskLine]) -> tuple[Column, ...]:
    """What records say that measuring cost; seconds only the journal of a run folder knows."""
    if not rows:
        return ()
    known = any(row.spent.seconds is not None for row in rows)
    time = (Column("time", "time", "number"),) if known else ()
    return (Column("evaluations", "evaluations", "number"), *time)


def _shared(row: EntryRow | TaskLine, note: str, tied: int) -> dict[str, TableCell]:
    return {
        "rank": (_rank_order(row.rank), wording.rank(row.rank), f"{tied} tied" if tied > 1 else ""),
        "entry": (row.entry, note, file_key(row.entry)),
        "level": (row.origin.level,),
        "verdict": (wording.verdict(row),),
        "kept": _kept(row.retention, row.bound),
        "evaluations": _evaluations(row.spent),
        "time": _time(row.spent),
    }


def _ties(rows: Sequence[EntryRow | TaskLine]) -> Counter[RankInterval | None]:
    """How many entries share each interval of ranks; those without a rank share nothing."""
    return Counter(row.rank for row in rows if row.rank is not None)


def _rank_order(rank: RankInterval | None) -> float | None:
    return rank.best + rank.worst / 1_000_000 if rank is not None else None


def _figure(found: Figure | None, bound: bool = False) -> TableCell:
    return _NO_QUALITY if found is None else _quality(found.quality, found.quality_interval, bound)


def _quality(value: float | None, interval: Interval | None, bound: bool = False) -> TableCell:
    if value is None or interval is None:
        return _NO_QUALITY
    low, high = (round(end, 2) for end in (interval.low, interval.high))
    return (round(value, 6), wording.quality(value, bound=bound), low, high)


def _metric(found: Figure | None, mark: str = "") -> TableCell:
    return (
        (None, wording.NOTHING) if found is None else (round(found.metric, 6), f"{mark}{wording.metric(found.metric)}")
    )


def _kept(value: float | None, bound: bool) -> TableCell:
    return (None if value is None else round(value, 6), wording.percent(value, bound=bound))


def _evaluations(spent: Spent) -> TableCell:
    total = spent.counts.forwards + spent.counts.backwards
    return (total, wording.count(total))


def _time(spent: Spent) -> TableCell:
    return (None if spent.seconds is None else round(spent.seconds, 1), wording.seconds(spent.seconds))
