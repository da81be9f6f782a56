"""A board as one compact table: the page shows its first rows, its script sorts, filters and searches all of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from leaderboard.pages.lines import AcrossLine, Quality, TaskLine
from leaderboard.pages.links import Links
from leaderboard.printing import wording
from leaderboard.records.metric import Metric
from leaderboard.scoring.rows import Spent
from leaderboard.scoring.statistics import RankInterval


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


_FIRST: Final = (Column("rank", "rank", "rank"), Column("entry", "entry", "entry"))


def across_listing(lines: Sequence[AcrossLine], tasks: Sequence[str]) -> Listing:
    """The board across domains."""
    columns = [
        *_FIRST,
        Column("robust", "mean robust", "quality"),
        *(Column(f"task-{number}", task, "quality") for number, task in enumerate(tasks, 1)),
        Column("clean", "mean clean", "quality"),
        Column("kept", "kept", "number"),
        *_trust(lines),
        *_costs(any(line.spent for line in lines)),
    ]
    ties = _ties(lines)
    rows = []
    for line in lines:
        cells = {
            **_shared(line, line.submitter, ties[line.rank]),
            **{f"task-{number}": _quality(line.tasks.get(task)) for number, task in enumerate(tasks, 1)},
            "kept": _kept(line.retention, line.robust),
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
        *_costs(any(line.spent for line in lines)),
    ]
    higher = metric is None or metric.higher_is_better
    ties = _ties(lines)
    rows = []
    for line in lines:
        bound = line.robust is not None and line.robust.bound
        lowered = f"lowered by {line.stronger} stronger attacks" if line.stronger else ""
        note = ", ".join(filter(None, (line.submitter, lowered)))
        cells = {
            **_shared(line, note, ties[line.rank]),
            "defense": (line.defense,),
            "worst": _metric(line.robust_metric, ("≤" if higher else "≥") if bound else ""),
            "usual": _metric(line.clean_metric),
            "kept": _kept(line.retention, line.robust),
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


def _trust(lines: Sequence[AcrossLine | TaskLine]) -> tuple[Column, ...]:
    verdict = Column("verdict", "verdict", "word", filtered=True)
    if not any(line.level for line in lines):
        return (verdict,)
    return (Column("level", "verification", "word", filtered=True), verdict)


def _costs(known: bool) -> tuple[Column, ...]:
    if not known:
        return ()
    return (Column("evaluations", "evaluations", "number"), Column("time", "time", "number"))


def _shared(line: AcrossLine | TaskLine, note: str, tied: int) -> dict[str, TableCell]:
    return {
        "rank": (_rank_order(line.rank), wording.rank(line.rank), f"{tied} tied" if tied > 1 else ""),
        "entry": (line.entry, note, line.key),
        "level": (line.level,),
        "verdict": (line.verdict,),
        "robust": _quality(line.robust),
        "clean": _quality(line.clean),
        "evaluations": _evaluations(line.spent),
        "time": _time(line.spent),
    }


def _ties(lines: Sequence[AcrossLine | TaskLine]) -> Counter[RankInterval | None]:
    """How many entries share each interval of ranks; those without a rank share nothing."""
    return Counter(line.rank for line in lines if line.rank is not None)


def _rank_order(rank: RankInterval | None) -> float | None:
    return rank.best + rank.worst / 1_000_000 if rank is not None else None


def _quality(found: Quality | None) -> TableCell:
    if found is None:
        return (None, wording.NOTHING, 0, 0)
    low, high = (round(end, 2) for end in (found.interval.low, found.interval.high))
    return (round(found.value, 6), wording.quality(found.value, bound=found.bound), low, high)


def _metric(value: float | None, mark: str = "") -> TableCell:
    return (None, wording.NOTHING) if value is None else (round(value, 6), f"{mark}{wording.metric(value)}")


def _kept(value: float | None, robust: Quality | None) -> TableCell:
    bound = robust is not None and robust.bound
    return (None if value is None else round(value, 6), wording.percent(value, bound=bound))


def _evaluations(spent: Spent | None) -> TableCell:
    if spent is None:
        return (None, wording.NOTHING)
    total = spent.counts.forwards + spent.counts.backwards
    return (total, wording.count(total))


def _time(spent: Spent | None) -> TableCell:
    seconds = spent.seconds if spent is not None else None
    return (None if seconds is None else round(seconds, 1), wording.seconds(seconds))
