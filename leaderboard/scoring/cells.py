"""From records to the rows of cells: the figure, the label and the cost of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from leaderboard.records.canonical import canonical_json
from leaderboard.records.plan import JournalEntry
from leaderboard.records.record import GROUP_PREFIX, NEAREST, Cell, Cost, Result
from leaderboard.records.threats import access_of, without_access
from leaderboard.scoring.rows import CellRow, Figure, Spent
from leaderboard.scoring.samples import sample_of
from leaderboard.scoring.scores import Absent
from leaderboard.scoring.statistics import Sample, metric_interval, quality_interval


def figure(found: Sample) -> Figure:
    """The metric, its quality and their intervals; further columns per unit of weight, so that errors by their kind
    add up to the error rate.
    """
    weight = float(found.weights.sum())
    return Figure(
        metric=found.figure,
        metric_interval=metric_interval(found),
        quality=found.quality,
        quality_interval=quality_interval(found),
        examples=len(found.ids),
        columns={
            name: float(found.columns[name].sum()) / weight
            for name in sorted(found.columns)
            if not name.startswith(GROUP_PREFIX) and name != NEAREST
        },
    )


def cell_rows(
    results: Sequence[Result],
    absent: Sequence[Absent],
    counted: Collection[str],
    journal: Mapping[str, JournalEntry],
) -> tuple[CellRow, ...]:
    """The cells of one entry under one threat, those without a record last in their attack's place."""
    labels = _labels([result.cell for result in results])
    rows = [
        CellRow(
            id=result.id,
            label=label,
            attack=result.cell.attack,
            params=dict(sorted(result.cell.params.items())),
            threat=result.cell.threat,
            status=result.status,
            reason=result.reason,
            figure=figure(sample_of(result)) if result.status == "ok" else None,
            counted=result.id in counted,
            spent=_spent(result.id, result.cost, journal),
        )
        for result, label in zip(results, labels, strict=True)
    ]
    rows += [
        CellRow(
            id=missing.id,
            label=missing.label.attack,
            attack=missing.label.attack,
            params={},
            threat=missing.label.threat,
            status="missing",
            reason="has not run yet",
            figure=None,
            counted=False,
            spent=_spent(missing.id, Cost(), journal),
        )
        for missing in absent
    ]
    return tuple(sorted(rows, key=lambda row: (row.attack, row.label, row.threat, row.id)))


def total(spent: Iterable[Spent]) -> Spent:
    """Counts and seconds add up; of the peaks of memory the highest counts."""
    parts = list(spent)
    seconds = [part.seconds for part in parts if part.seconds is not None]
    peaks = [part.peak_memory_bytes for part in parts if part.peak_memory_bytes is not None]
    counts = Cost(
        forwards=sum(part.counts.forwards for part in parts),
        backwards=sum(part.counts.backwards for part in parts),
        queries=sum(part.counts.queries for part in parts),
        environment_steps=sum(part.counts.environment_steps for part in parts),
    )
    return Spent(counts, sum(seconds) if seconds else None, max(peaks) if peaks else None)


def _spent(cell_id: str, counts: Cost, journal: Mapping[str, JournalEntry]) -> Spent:
    entry = journal.get(cell_id)
    return Spent(counts, entry.seconds if entry else None, entry.peak_memory_bytes if entry else None)


def _labels(cells: Sequence[Cell]) -> list[str]:
    """The attack's name, and what tells a cell from others of the same attack: `pgd (steps=40)`."""
    return [
        cell.attack if not (parts := _distinctions(cell, cells)) else f"{cell.attack} ({', '.join(parts)})"
        for cell in cells
    ]


def _distinctions(cell: Cell, cells: Sequence[Cell]) -> list[str]:
    same = [
        other
        for other in cells
        if other.attack == cell.attack and without_access(other.threat) == without_access(cell.threat)
    ]
    facts = [
        {
            **dict(sorted(other.params.items())),
            **dict(sorted(other.options.items())),
            "access": access_of(other.threat),
            "queries": other.threat.partition("<=")[2],
            "goal": other.goal,
            "seed": other.seed,
            "dtype": other.dtype,
            "device": other.device,
            "batch": other.batch_size,
        }
        for other in same
    ]
    own = facts[same.index(cell)]
    values = {name: Counter(canonical_json(fact.get(name)) for fact in facts) for name in own}
    return [f"{name}={value}" for name, value in own.items() if len(values[name]) > 1]
