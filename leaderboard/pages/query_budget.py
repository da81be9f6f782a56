"""What attacks spent and what they left: robust quality against the passes of an example, from one entry's records."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leaderboard.pages.charts import Line, line_chart
from leaderboard.records.record import Result
from leaderboard.scoring.cells import figure
from leaderboard.scoring.curves import cost_curve
from leaderboard.scoring.rows import CellRow, TaskRow
from leaderboard.scoring.samples import mean_sample, sample_of
from leaderboard.scoring.statistics import Interval, quality_interval


X_LABEL = "forward and backward passes an example"


class Spending(msgspec.Struct, frozen=True):
    """One attack. passes: forwards and backwards an example, the mean over the cell's examples; queries: the answers
    among them that the attacker saw. quality: under this attack alone; worst: under all that spent no more.
    """

    label: str
    passes: float
    queries: float
    quality: float
    quality_interval: Interval
    worst: float
    worst_interval: Interval


class SpendingCurve(msgspec.Struct, frozen=True):
    """The attacks of a threat that count, by rising passes."""

    threat: str
    points: tuple[Spending, ...]


def spending_curves(row: TaskRow, results: Mapping[str, Result]) -> tuple[SpendingCurve, ...]:
    """A curve for each threat, the one that ranks first; none where the records behind its worst case are not all here.

    results: by cell id, those that the row was worked out from.
    """
    measured = [results[cell.id] for cell in row.clean_cells if cell.id in results and results[cell.id].status == "ok"]
    if not measured:
        return ()
    clean = mean_sample([sample_of(one) for one in measured])
    curves = []
    for threat in sorted(row.threats, key=lambda one: not one.ranking):
        cells = {cell.id: cell for cell in threat.attacks if cell.counted and cell.figure is not None}
        if not cells or not cells.keys() <= results.keys():
            continue
        outcomes = {cell_id: sample_of(results[cell_id]) for cell_id in cells}
        points = []
        for cell_id, worst in cost_curve(
            clean, [(_passes(cell), cell_id, outcomes[cell_id]) for cell_id, cell in cells.items()]
        ):
            cell, alone = cells[cell_id], figure(outcomes[cell_id])
            points.append(
                Spending(
                    label=cell.label,
                    passes=_passes(cell),
                    queries=cell.spent.counts.queries / alone.examples,
                    quality=alone.quality,
                    quality_interval=alone.quality_interval,
                    worst=worst.quality,
                    worst_interval=quality_interval(worst),
                )
            )
        curves.append(SpendingCurve(threat.threat, tuple(points)))
    return tuple(curves)


def spending_chart(curve: SpendingCurve) -> object:
    """The attacks as dots, and the worst case so far as steps."""
    dots = tuple((one.passes, one.quality, one.quality_interval.low, one.quality_interval.high) for one in curve.points)
    # Attacks that spent the same are one step, and it ends at the worst case over all of them.
    steps = {
        one.passes: (one.passes, one.worst, one.worst_interval.low, one.worst_interval.high) for one in curve.points
    }
    return line_chart(
        f"Query curve under {curve.threat}",
        X_LABEL,
        "quality",
        [Line("worst case so far", tuple(steps.values()), "steps"), Line("one attack alone", dots, "dots")],
        log=True,
    )


def _passes(cell: CellRow) -> float:
    assert cell.figure is not None
    return (cell.spent.counts.forwards + cell.spent.counts.backwards) / cell.figure.examples
