"""The public boards, from what was accepted: ranks, levels, and in which order. They depend on the entries alone.

Only what was measured again (level `re-run`) is ranked; what was not is shown below, with its level.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from leaderboard.database.accepted import Accepted, accepted_entries
from leaderboard.database.models import StoredResult
from leaderboard.database.ranking import Ranker
from leaderboard.database.scoring import unpack
from leaderboard.database.suites import SuiteFacts
from leaderboard.records.metric import Metric
from leaderboard.records.threats import without_access
from leaderboard.scoring.statistics import Interval, RankInterval, Sample, mean_interval


NOT_RUN_AGAIN: Final = "level {level}: only what was measured again here is ranked"


_VERDICTS: Final = ("invalid", "suspect", "reliable")
RANKED: Final = "re-run"
_LEVELS: Final = ("claimed", "re-scored", RANKED)


class Value(msgspec.Struct, frozen=True):
    """A metric and its quality in [0, 1] with 95% intervals, as Figure says them, without what only pages show."""

    metric: float
    metric_interval: Interval
    quality: float
    quality_interval: Interval
    examples: int


class _Threat(msgspec.Struct, frozen=True):
    ranking: bool
    robust: Value | None
    retention: float | None
    problems: tuple[str, ...]


class _Row(msgspec.Struct, frozen=True):
    """What of a TaskRow a listing needs; the rest of its JSON is passed over."""

    defense: str
    clean: Value | None
    threats: tuple[_Threat, ...]
    unranked: str
    verdict: str


class Line(msgspec.Struct, frozen=True):
    """One entry on one task. id: its bundle. bound: the robust quality is this or less. stronger: bundles of others
    whose attacks lowered it. unranked: why there is no rank, empty where there is one.
    """

    rank: RankInterval | None
    entry: str
    id: str
    level: str
    unranked: str
    robust: Value | None
    bound: bool
    clean: Value | None
    retention: float | None
    verdict: str
    defense: str
    url: str
    licence: str
    submitter: str
    stronger: tuple[str, ...]


class Across(msgspec.Struct, frozen=True):
    """One entry over all tasks of a suite: mean qualities, None where a task has none. tasks: bundle ids by task.

    verdict, level: the worst of those on its tasks.
    """

    rank: RankInterval | None
    entry: str
    unranked: str
    robust: float | None
    robust_interval: Interval | None
    bound: bool
    clean: float | None
    clean_interval: Interval | None
    retention: float | None
    verdict: str
    level: str
    submitter: str
    tasks: dict[str, str]


class PublicBoard(msgspec.Struct, frozen=True):
    """A suite's boards, each from the best entry to the last. threats: what ranks each task, access stripped.

    tasks: those that have entries."""

    suite: str
    threats: dict[str, str]
    metrics: dict[str, Metric]
    across: tuple[Across, ...]
    tasks: dict[str, tuple[Line, ...]]


class Boards:
    """Builds boards again and again; remembers what it told of pairs of entries."""

    def __init__(self) -> None:
        self._rankers: dict[tuple[str, str], Ranker] = defaultdict(Ranker)

    def build(self, session: Session, facts: SuiteFacts) -> PublicBoard:
        """The boards of one suite. Every accepted entry needs its row: see accepted.py."""
        entries = {one.bundle: one for one in accepted_entries(session, facts.name)}
        lines: dict[str, list[Line]] = defaultdict(list)
        samples: dict[str, dict[str, Sample]] = defaultdict(dict)
        metrics: dict[str, Metric] = {}
        known: dict[tuple[str, ...], tuple[str, ...]] = {}
        rows = select(StoredResult).where(StoredResult.suite == facts.name).order_by(StoredResult.bundle)
        for stored in session.scalars(rows.execution_options(yield_per=200)):
            entry = entries.get(stored.bundle)
            if entry is None:
                continue
            line = _line(entry, msgspec.json.decode(stored.row, type=_Row))
            lines[entry.task].append(line)
            if stored.sample:
                sample = unpack(stored.sample, known)
                metrics.setdefault(entry.task, sample.metric)
                if not line.unranked:
                    samples[entry.task][line.entry] = sample
            session.expunge(stored)
        tasks = sorted(lines)
        boards = {
            task: self._ranked(facts.name, task, lines[task], {name: [one] for name, one in samples[task].items()})
            for task in tasks
        }
        return PublicBoard(
            suite=facts.name,
            threats={task: without_access(threat) for task, threat in sorted(facts.ranking_threats.items())},
            metrics=metrics,
            across=self._across(facts.name, boards, samples),
            tasks=boards,
        )

    def _ranked(
        self, suite: str, task: str, lines: Sequence[Line], samples: Mapping[str, Sequence[Sample]]
    ) -> tuple[Line, ...]:
        ranks = self._rankers[suite, task].ranks(samples)
        placed = [msgspec.structs.replace(one, rank=ranks.get(one.entry)) for one in lines]
        return tuple(
            sorted(placed, key=lambda one: _order(one.rank, one.robust.quality if one.robust else None, one.entry))
        )

    def _across(
        self, suite: str, boards: Mapping[str, Sequence[Line]], samples: Mapping[str, Mapping[str, Sample]]
    ) -> tuple[Across, ...]:
        places: dict[str, dict[str, Line]] = defaultdict(dict)
        for task, lines in boards.items():
            for line in lines:
                places[line.entry][task] = line
        ranked = {
            entry: [samples[task][entry] for task in boards]
            for entry in places
            if all(entry in samples[task] for task in boards)
        }
        # One task's board is the board over all tasks.
        ranker = self._rankers[suite, next(iter(boards)) if len(boards) == 1 else ""]
        ranks = ranker.ranks(ranked)
        rows = [_across_line(entry, places[entry], tuple(boards), ranks.get(entry)) for entry in places]
        return tuple(sorted(rows, key=lambda one: _order(one.rank, one.robust, one.entry)))


def _line(entry: Accepted, row: _Row) -> Line:
    ranking = next((one for one in row.threats if one.ranking), None)
    unranked = row.unranked
    if entry.level != RANKED:
        unranked = "; ".join(filter(None, (NOT_RUN_AGAIN.format(level=entry.level), row.unranked)))
    return Line(
        rank=None,
        entry=entry.name,
        id=entry.bundle,
        level=entry.level,
        unranked=unranked,
        robust=ranking.robust if ranking else None,
        bound=bool(ranking and ranking.problems),
        clean=row.clean,
        retention=ranking.retention if ranking else None,
        verdict=row.verdict,
        defense=row.defense,
        url=entry.url,
        licence=entry.licence,
        submitter=entry.submitter,
        stronger=entry.stronger,
    )


def _across_line(entry: str, places: Mapping[str, Line], tasks: Sequence[str], rank: RankInterval | None) -> Across:
    robust, robust_interval = _mean([places[task].robust if task in places else None for task in tasks])
    clean, clean_interval = _mean([places[task].clean if task in places else None for task in tasks])
    reasons = [
        f"{task}: {places[task].unranked if task in places else 'not measured'}"
        for task in tasks
        if task not in places or places[task].unranked
    ]
    return Across(
        rank=rank,
        entry=entry,
        unranked="; ".join(reasons),
        robust=robust,
        robust_interval=robust_interval,
        bound=any(line.bound for line in places.values()),
        clean=clean,
        clean_interval=clean_interval,
        retention=robust / clean if robust is not None and clean else None,
        verdict=next(one for one in _VERDICTS if any(line.verdict == one for line in places.values())),
        level=next(one for one in _LEVELS if any(line.level == one for line in places.values())),
        submitter=next(iter(places.values())).submitter,
        tasks={task: line.id for task, line in sorted(places.items())},
    )


def _mean(values: Sequence[Value | None]) -> tuple[float | None, Interval | None]:
    """The mean quality, or nothing where one is missing: a mean over fewer tasks cannot be compared."""
    found = [one for one in values if one is not None]
    if not found or len(found) < len(values):
        return None, None
    qualities = [one.quality for one in found]
    return sum(qualities) / len(found), mean_interval(qualities, [one.quality_interval for one in found])


def _order(rank: RankInterval | None, robust: float | None, entry: str) -> tuple[float, float, float, str]:
    """Ranked entries first, then by robust quality; the name only makes the order definite."""
    best, worst = (rank.best, rank.worst) if rank is not None else (math.inf, math.inf)
    return best, worst, -robust if robust is not None else math.inf, entry
