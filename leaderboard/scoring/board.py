"""Builds the board from the records of a plan: figures, ranks and reasons for every entry.

It depends on the records alone, not on the order in which they came in; only seconds and peak memory come
from the journal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from leaderboard.records.canonical import ResultError
from leaderboard.records.plan import JournalEntry, Plan
from leaderboard.records.record import Result
from leaderboard.records.threats import without_access
from leaderboard.scoring.diagnostics import worst_verdict
from leaderboard.scoring.measurements import figure, measure, total
from leaderboard.scoring.rows import Board, CurvePoint, EntryRow, Figure, TaskBoard, TaskRow, ThreatRow
from leaderboard.scoring.scores import TaskScore, ThreatScore, score
from leaderboard.scoring.statistics import (
    Interval,
    RankInterval,
    Sample,
    mean_interval,
    quality_interval,
    rank_intervals,
    ratio_interval,
)


__all__ = ["Board", "build_board", "ranked_sample", "ranking_threat"]


def build_board(plan: Plan, results: Mapping[str, Result], journal: Mapping[str, JournalEntry]) -> Board:
    """Scores, ranks and lays out every cell of the plan.

    Raises ResultError where the records contradict each other or a task has no ranking threat.
    """
    scores = score(plan, results, journal)
    boards = tuple(
        _task_board(task, [one for one in scores if one.task == task], plan, journal)
        for task in sorted({one.task for one in scores})
    )
    return Board(plan.suite, _entry_rows(boards, scores), boards)


def ranking_threat(plan: Plan, task: str) -> str:
    """The threat that ranks a task, access stripped. Raises ResultError where the plan names none."""
    if task not in plan.ranking_threats:
        raise ResultError(f"plan {plan.suite} names no ranking threat for {task}; expected one for each task")
    return without_access(plan.ranking_threats[task])


def ranked_sample(score: TaskScore, threat: str) -> Sample | None:
    """The robust outcome that ranks an entry on a task, None where it is not ranked."""
    found = score.threat(threat)
    if score.unranked(threat) or found is None or found.robust is None:
        return None
    return found.robust.sample


def _task_board(task: str, scores: Sequence[TaskScore], plan: Plan, journal: Mapping[str, JournalEntry]) -> TaskBoard:
    ranking = ranking_threat(plan, task)
    ranked = {one.entry: [found] for one in scores if (found := ranked_sample(one, ranking)) is not None}
    ranks = rank_intervals(ranked)
    unrealisable = {without_access(threat) for threat in plan.unrealisable_threats}
    rows = []
    for one in scores:
        threats = tuple(_threat_row(one, threat, ranking, unrealisable, journal) for threat in one.threats)
        clean_ids = [result.id for result in one.clean_results if result.status == "ok"]
        clean_cells = measure(one.clean_results, one.clean_absent, clean_ids, journal)
        cells = [*clean_cells, *(cell for threat in threats for cell in threat.attacks)]
        defenses = {result.cell.defense for result in one.clean_results}
        row = TaskRow(
            entry=one.entry,
            defense=", ".join(sorted(defenses)),
            clean=figure(one.clean) if one.clean is not None else None,
            clean_cells=clean_cells,
            threats=threats,
            rank=ranks.get(one.entry),
            unranked=one.unranked(ranking),
            verdict=one.verdict(ranking),
            findings=one.findings,
            spent=total(cell.spent for cell in cells),
        )
        rows.append(row)
    metric = next((one.clean.sample.metric for one in scores if one.clean is not None), None)
    return TaskBoard(task, metric, ranking, tuple(sorted(rows, key=_task_order)))


def _task_order(row: TaskRow) -> tuple[float, float, float, str]:
    robust = row.ranking.robust if row.ranking is not None else None
    return _order(row.entry, row.rank, robust.quality if robust is not None else None)


def _threat_row(
    score: TaskScore,
    threat: ThreatScore,
    ranking: str,
    unrealisable: set[str],
    journal: Mapping[str, JournalEntry],
) -> ThreatRow:
    retention = interval = None
    if threat.robust is not None and score.clean is not None and score.clean.sample.quality > 0:
        retention = threat.robust.sample.quality / score.clean.sample.quality
        interval = ratio_interval(threat.robust.sample, score.clean.sample)
    return ThreatRow(
        threat=threat.threat,
        ranking=threat.threat == ranking,
        realisable=threat.threat not in unrealisable,
        robust=figure(threat.robust) if threat.robust is not None else None,
        retention=retention,
        retention_interval=interval,
        problems=threat.problems,
        attacks=measure(threat.results, threat.absent, threat.counted, journal),
        curve=tuple(
            CurvePoint(share, point.sample.quality, quality_interval(point.sample)) for share, point in threat.curve
        ),
    )


def _entry_rows(boards: Sequence[TaskBoard], scores: Sequence[TaskScore]) -> tuple[EntryRow, ...]:
    entries = sorted({one.entry for one in scores})
    by_place = {(one.task, one.entry): one for one in scores}
    ranked: dict[str, list[Sample]] = {}
    for entry in entries:
        places = [(by_place.get((board.task, entry)), board.ranking_threat) for board in boards]
        samples = [ranked_sample(one, threat) for one, threat in places if one is not None]
        found = [one for one in samples if one is not None]
        if len(found) == len(boards):
            ranked[entry] = found
    ranks = rank_intervals(ranked)
    rows = [_entry_row(entry, boards, ranks.get(entry)) for entry in entries]
    return tuple(sorted(rows, key=lambda row: _order(row.entry, row.rank, row.robust)))


def _entry_row(entry: str, boards: Sequence[TaskBoard], rank: RankInterval | None) -> EntryRow:
    places = [(board.task, board.row(entry)) for board in boards]
    present = [row for _, row in places if row is not None]
    clean = [row.clean if row is not None else None for _, row in places]
    ranking = [row.ranking if row is not None else None for _, row in places]
    robust = [threat.robust if threat is not None else None for threat in ranking]
    clean_mean, clean_interval = _mean(clean)
    robust_mean, robust_interval = _mean(robust)
    reasons = [
        f"{task}: {row.unranked if row is not None else 'not measured'}"
        for task, row in places
        if row is None or row.unranked
    ]
    return EntryRow(
        entry=entry,
        clean=clean_mean,
        clean_interval=clean_interval,
        robust=robust_mean,
        robust_interval=robust_interval,
        bound=any(row.ranking is not None and bool(row.ranking.problems) for row in present),
        retention=robust_mean / clean_mean if robust_mean is not None and clean_mean else None,
        rank=rank,
        unranked="; ".join(reasons),
        verdict=worst_verdict(row.verdict for row in present),
    )


def _mean(figures: Sequence[Figure | None]) -> tuple[float | None, Interval | None]:
    """The mean quality, or nothing where one is missing: a mean over fewer tasks cannot be compared."""
    found = [one for one in figures if one is not None]
    if not found or len(found) < len(figures):
        return None, None
    qualities = [one.quality for one in found]
    return sum(qualities) / len(found), mean_interval(qualities, [one.quality_interval for one in found])


def _order(entry: str, rank: RankInterval | None, robust: float | None) -> tuple[float, float, float, str]:
    """Ranked entries first, then by robust quality; the name only makes the order definite."""
    best, worst = (rank.best, rank.worst) if rank is not None else (math.inf, math.inf)
    return best, worst, -robust if robust is not None else math.inf, entry
