"""How figures read, in the terminal and on the page alike."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from leaderboard.records.metric import Metric
from leaderboard.records.record import Cost
from leaderboard.scoring.rows import Board, CellRow, EntryRow, Figure, Spent, TaskBoard, TaskLine, TaskRow, ThreatRow
from leaderboard.scoring.scores import CLEAN
from leaderboard.scoring.statistics import Interval, RankInterval


DASH = "\N{EN DASH}"
NOTHING = DASH


def printable(text: str) -> str:
    """A name or a reason on one line, without what could steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


class Gap(NamedTuple):
    """A cell without a number, and the entries that share it for the same reason."""

    task: str
    status: str
    attack: str
    threat: str
    reason: str
    entries: tuple[str, ...]

    def who(self, task: TaskBoard) -> str:
        """The entries by name, or that it is all of the task's."""
        everyone = len(self.entries) == len(task.rows) > 1
        return f"all {len(self.entries)} entries" if everyone else ", ".join(self.entries)


class ThreatColumns(NamedTuple):
    """What a task shows of one threat: the labels of the attacks that any entry met."""

    threat: str
    ranking: bool
    realisable: bool
    labels: tuple[str, ...]

    def of(self, row: TaskRow) -> ThreatRow | None:
        """An entry's row under this threat."""
        return next((one for one in row.threats if one.threat == self.threat), None)

    def cells(self, row: TaskRow) -> list[CellRow | None]:
        """An entry's cells in the order of the labels."""
        threat = self.of(row)
        by_label = {cell.label: cell for cell in threat.attacks} if threat is not None else {}
        return [by_label.get(label) for label in self.labels]


def quality(value: float | None, *, bound: bool = False) -> str:
    """A quality in [0, 1] with two decimals; a bound is marked, a missing one is a dash."""
    return NOTHING if value is None else f"{'≤' if bound else ''}{value:.2f}"


def interval(found: Interval | None) -> str:
    """A 95% interval of qualities: `0.33-0.51`."""
    return "" if found is None else f"{found.low:.2f}{DASH}{found.high:.2f}"


def signed_interval(found: Interval) -> str:
    """A 95% interval of a difference: `+0.12 to +0.31`."""
    return f"{found.low:+.2f} to {found.high:+.2f}"


def metric(value: float) -> str:
    """A metric with three significant places: 0.984, 31.2, 487."""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def metric_interval(found: Interval) -> str:
    """A 95% interval in the metric's own unit."""
    return f"{metric(found.low)}{DASH}{metric(found.high)}"


def percent(value: float | None, *, bound: bool = False) -> str:
    """A share as a whole percentage; a bound is marked, a missing one is a dash."""
    return NOTHING if value is None else f"{'≤' if bound else ''}{100 * value:.0f}%"


def rank(found: RankInterval | None) -> str:
    """A rank, or the ranks that the evidence allows: `2-4`."""
    if found is None:
        return NOTHING
    return str(found.best) if found.best == found.worst else f"{found.best}{DASH}{found.worst}"


def measured(cell: CellRow | None) -> str:
    """A cell's metric, or why it has none in one word."""
    if cell is None:
        return NOTHING
    return metric(cell.figure.metric) if cell.figure is not None else cell.status


def worst_case(row: ThreatRow | None, measure: Metric | None) -> str:
    """The robust metric of a threat; an incomplete one is marked with where it can still move."""
    if row is None or row.robust is None or measure is None:
        return NOTHING
    mark = ("≤" if measure.higher_is_better else "≥") if row.problems else ""
    return f"{mark}{metric(row.robust.metric)}"


def columns(found: Figure) -> list[str]:
    """The further columns per unit of weight: `substitutions 0.12`."""
    return [f"{name} {metric(value)}" for name, value in found.columns.items()]


def verdict(row: TaskLine | EntryRow) -> str:
    """The verdict, or that there is nothing to judge yet: an entry without a rank is not called reliable."""
    return "incomplete" if row.unranked and row.verdict == "reliable" else row.verdict


def count(value: int) -> str:
    """A count, shortened: 980, 12.4k, 3.1M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.1f}{unit}"
    return str(value)


def seconds(value: float | None) -> str:
    """A time, in the unit that reads best."""
    if value is None:
        return NOTHING
    if value < 60:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 3600 else f"{value / 3600:.1f} h"


def memory(value: int | None) -> str:
    """A peak of memory in MB or GB."""
    if value is None:
        return NOTHING
    return f"{value / 1e6:.0f} MB" if value < 1e9 else f"{value / 1e9:.1f} GB"


def spent(found: Spent) -> tuple[str, ...]:
    """The six columns of cost, in the order of COST_COLUMNS."""
    counts: Cost = found.counts
    return (
        count(counts.forwards),
        count(counts.backwards),
        count(counts.queries),
        count(counts.environment_steps),
        seconds(found.seconds),
        memory(found.peak_memory_bytes),
    )


COST_COLUMNS = ("forwards", "backwards", "queries", "steps", "time", "memory")


def gaps(board: Board) -> tuple[Gap, ...]:
    """Every cell without a number; those that differ in the entry alone are one."""
    found: dict[tuple[str, str, str, str, str], set[str]] = defaultdict(set)
    for task in board.tasks:
        for row in task.rows:
            for cell in row.cells:
                if cell.figure is None:
                    label = "clean pass" if cell.attack == CLEAN else cell.label
                    key = (task.task, cell.status, label, cell.threat, cell.reason)
                    found[key].add(row.entry)
    return tuple(Gap(*key, tuple(sorted(entries))) for key, entries in sorted(found.items()))


def threat_columns(task: TaskBoard) -> list[ThreatColumns]:
    """Every threat of a task with its attacks: the ranking one first, the unrealisable ones last."""
    labels: dict[str, set[str]] = defaultdict(set)
    found: dict[str, ThreatRow] = {}
    for row in task.rows:
        for threat in row.threats:
            found[threat.threat] = threat
            labels[threat.threat].update(cell.label for cell in threat.attacks)
    ordered = sorted(found.values(), key=lambda row: (not row.ranking, not row.realisable, row.threat))
    return [
        ThreatColumns(row.threat, row.ranking, row.realisable, tuple(sorted(labels[row.threat]))) for row in ordered
    ]
