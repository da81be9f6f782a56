"""The page of two entries: paired differences with their intervals, task by task and attack by attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from leaderboard.pages.board import menu_of
from leaderboard.pages.charts import Line, line_chart
from leaderboard.pages.layout import TABLES, render
from leaderboard.pages.links import Links
from leaderboard.printing.wording import threat_columns
from leaderboard.records.metric import Metric
from leaderboard.records.record import Result
from leaderboard.scoring.rows import CellRow, TaskBoard, TaskRow
from leaderboard.scoring.samples import sample_of
from leaderboard.scoring.statistics import Difference, Sample, difference


class AttackPair(msgspec.Struct, frozen=True):
    """One attack on both entries. gap: of the qualities, paired, None where it cannot be told."""

    threat: str
    label: str
    one: CellRow | None
    other: CellRow | None
    gap: Difference | None


class TaskPair(msgspec.Struct, frozen=True):
    """Two entries on one task; a row is None where its entry was not measured.

    robust, clean: first minus second in quality, paired example by example, None where one side has no number.
    """

    task: str
    metric: Metric | None
    threat: str
    one: TaskRow | None
    other: TaskRow | None
    robust: Difference | None
    clean: Difference | None
    attacks: tuple[AttackPair, ...]


class Pair(msgspec.Struct, frozen=True):
    """Two entries on all tasks of a suite. keys: what links to each."""

    suite: str
    one: str
    other: str
    keys: tuple[str, str]
    tasks: tuple[str, ...]
    places: tuple[TaskPair, ...]


def pair_task(
    task: str,
    metric: Metric | None,
    threat: str,
    rows: tuple[TaskRow | None, TaskRow | None],
    robust: tuple[Sample | None, Sample | None],
    clean: tuple[Sample | None, Sample | None],
    samples: Mapping[str, Sample],
) -> TaskPair:
    """Two entries on one task. robust: the outcomes that rank them. samples: the outcomes of cells by their id, as far
    as they are known; what is not known is shown side by side, without a paired difference.
    """
    one, other = rows
    return TaskPair(
        task=task,
        metric=metric,
        threat=threat,
        one=one,
        other=other,
        robust=_gap(*robust),
        clean=_gap(*clean),
        attacks=tuple(_attacks(task, metric, threat, one, other, samples)),
    )


def samples_of(results: Mapping[str, Result]) -> dict[str, Sample]:
    """The outcome of every measured cell, by its id."""
    return {key: sample_of(result) for key, result in results.items() if result.status == "ok"}


def render_compare(pair: Pair, links: Links) -> str:
    """The page of two entries."""
    return render(
        "compare.html",
        f"{pair.one} and {pair.other}",
        pair.suite,
        links,
        menu=menu_of(pair.tasks),
        scripts=[TABLES],
        pair=pair,
        charts={place.task: _charts(place, pair) for place in pair.places},
    )


def _attacks(
    task: str,
    metric: Metric | None,
    threat: str,
    one: TaskRow | None,
    other: TaskRow | None,
    known: Mapping[str, Sample],
) -> list[AttackPair]:
    found = []
    both = tuple(row for row in (one, other) if row is not None)
    for columns in threat_columns(TaskBoard(task, metric, threat, both)):
        mine = columns.cells(one) if one is not None else [None] * len(columns.labels)
        theirs = columns.cells(other) if other is not None else [None] * len(columns.labels)
        for label, first, second in zip(columns.labels, mine, theirs, strict=True):
            if all(cell is None or cell.status == "n/a" for cell in (first, second)):
                continue  # nothing to compare; the entries' own pages say why
            gap = _gap(*(known.get(cell.id) if cell is not None else None for cell in (first, second)))
            found.append(AttackPair(columns.threat, label, first, second, gap))
    return found


def _gap(one: Sample | None, other: Sample | None) -> Difference | None:
    if one is None or other is None or one.metric != other.metric:
        return None
    return difference([one], [other])


def _charts(place: TaskPair, pair: Pair) -> list[object]:
    charts: list[object] = []
    rows: Sequence[tuple[str, TaskRow | None]] = ((pair.one, place.one), (pair.other, place.other))
    threats = [threat for _, row in rows if row is not None for threat in row.threats]
    for name in dict.fromkeys(one.threat for one in sorted(threats, key=lambda one: (not one.ranking, one.threat))):
        lines = [
            Line(
                entry,
                tuple((p.share, p.quality, p.quality_interval.low, p.quality_interval.high) for p in threat.curve),
            )
            for entry, row in rows
            if row is not None
            for threat in row.threats
            if threat.threat == name and threat.curve
        ]
        if lines:
            charts.append(
                line_chart(
                    f"Budget curves under {name}", "share of the budget; 0 is the clean pass", "robust quality", lines
                )
            )
    return charts
