"""Builds the board from the records of a plan: figures, ranks and reasons for every entry.

It depends on the records alone, not on the order in which they came in; only seconds and peak memory come
from the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from leaderboard.records.canonical import ResultError
from leaderboard.records.plan import JournalEntry, Plan
from leaderboard.records.record import Result
from leaderboard.records.threats import without_access
from leaderboard.scoring.cells import cell_rows, figure, total
from leaderboard.scoring.rows import Board, CurvePoint, Origin, TaskBoard, TaskRow, ThreatRow
from leaderboard.scoring.scores import TaskScore, ThreatScore, score
from leaderboard.scoring.standings import BoardSamples, ranked
from leaderboard.scoring.statistics import quality_interval, rank_intervals, ratio_interval


class ScoredBoard(NamedTuple):
    """A board, and the outcomes of examples that entries are compared by."""

    board: Board
    samples: BoardSamples


def build_board(
    plan: Plan,
    results: Mapping[str, Result],
    journal: Mapping[str, JournalEntry],
    levels: Mapping[str, str] | None = None,
) -> Board:
    """Scores, ranks and lays out every cell of the plan. levels: of verification, by entry, where any is known.

    Raises ResultError where the records contradict each other or a task has no ranking threat.
    """
    return scored_board(plan, results, journal, levels).board


def scored_board(
    plan: Plan,
    results: Mapping[str, Result],
    journal: Mapping[str, JournalEntry],
    levels: Mapping[str, str] | None = None,
) -> ScoredBoard:
    """The same together with the outcomes behind it."""
    scores: dict[str, dict[str, TaskScore]] = {}
    for one in score(plan, results, journal):
        scores.setdefault(one.task, {})[one.entry] = one
    threats = {task: _ranking_threat(plan, task) for task in scores}
    samples = BoardSamples(
        robust={
            task: {entry: sample for entry, one in here.items() if (sample := one.ranked(threats[task])) is not None}
            for task, here in scores.items()
        },
        clean={
            task: {entry: one.clean for entry, one in here.items() if one.clean is not None}
            for task, here in scores.items()
        },
    )
    unrealisable = {without_access(threat) for threat in plan.unrealisable_threats}
    rows = {
        task: [
            _task_row(one, threats[task], unrealisable, journal, (levels or {}).get(one.entry, ""))
            for one in here.values()
        ]
        for task, here in scores.items()
    }
    entries, tasks = ranked(rows, samples.robust, lambda _, found: rank_intervals(found))
    boards = tuple(
        TaskBoard(task, next((one.metric for one in samples.clean[task].values()), None), threats[task], tasks[task])
        for task in scores
    )
    return ScoredBoard(Board(plan.suite, entries, boards), samples)


def _ranking_threat(plan: Plan, task: str) -> str:
    """The threat that ranks a task, access stripped. Raises ResultError where the plan names none."""
    if task not in plan.ranking_threats:
        raise ResultError(f"plan {plan.suite} names no ranking threat for {task}; expected one for each task")
    return without_access(plan.ranking_threats[task])


def _task_row(
    score: TaskScore, ranking: str, unrealisable: set[str], journal: Mapping[str, JournalEntry], level: str
) -> TaskRow:
    """An entry on a task, without its rank."""
    threats = tuple(_threat_row(score, threat, ranking, unrealisable, journal) for threat in score.threats)
    clean_ids = [result.id for result in score.clean_results if result.status == "ok"]
    clean_cells = cell_rows(score.clean_results, score.clean_absent, clean_ids, journal)
    found = next((threat for threat in threats if threat.ranking), None)
    return TaskRow(
        entry=score.entry,
        defense=", ".join(sorted({result.cell.defense for result in score.clean_results})),
        clean=figure(score.clean) if score.clean is not None else None,
        robust=found.robust if found is not None else None,
        bound=found is not None and bool(found.problems),
        retention=found.retention if found is not None else None,
        rank=None,
        unranked=score.unranked(ranking),
        verdict=score.verdict(ranking),
        spent=total(cell.spent for cell in (*clean_cells, *(cell for threat in threats for cell in threat.attacks))),
        origin=Origin(level=level),
        clean_cells=clean_cells,
        threats=threats,
        findings=score.findings,
    )


def _threat_row(
    score: TaskScore,
    threat: ThreatScore,
    ranking: str,
    unrealisable: set[str],
    journal: Mapping[str, JournalEntry],
) -> ThreatRow:
    retention = interval = None
    if threat.robust is not None and score.clean is not None and score.clean.quality > 0:
        retention = threat.robust.quality / score.clean.quality
        interval = ratio_interval(threat.robust, score.clean)
    return ThreatRow(
        threat=threat.threat,
        ranking=threat.threat == ranking,
        realisable=threat.threat not in unrealisable,
        robust=figure(threat.robust) if threat.robust is not None else None,
        retention=retention,
        retention_interval=interval,
        problems=threat.problems,
        attacks=cell_rows(threat.results, threat.absent, threat.counted, journal),
        curve=tuple(CurvePoint(share, point.quality, quality_interval(point)) for share, point in threat.curve),
    )
