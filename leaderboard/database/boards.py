"""The public boards, from what was accepted: ranks, levels, and in which order. They depend on the entries alone.

Only what was measured again (level `re-run`) is ranked; what was not is shown below, with its level.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from leaderboard.database.accepted import Accepted, accepted_entries
from leaderboard.database.models import StoredResult
from leaderboard.database.scoring import unpack
from leaderboard.database.suites import SuiteFacts
from leaderboard.records.metric import Metric
from leaderboard.records.threats import without_access
from leaderboard.records.verdict import VerdictLevel
from leaderboard.scoring.ranker import Ranker
from leaderboard.scoring.rows import EntryRow, TaskLine
from leaderboard.scoring.standings import ranked
from leaderboard.scoring.statistics import RankInterval, Sample


RANKED: Final[VerdictLevel] = "re-run"
NOT_RUN_AGAIN: Final = "level {level}: only what was measured again here is ranked"


class PublicBoard(msgspec.Struct, frozen=True):
    """A suite's boards, each from the best entry to the last. threats: what ranks each task, access stripped.

    entries: across domains. tasks: those that have entries."""

    suite: str
    threats: dict[str, str]
    metrics: dict[str, Metric]
    entries: tuple[EntryRow, ...]
    tasks: dict[str, tuple[TaskLine, ...]]


class Boards:
    """Builds boards again and again; remembers what it told of pairs of entries."""

    def __init__(self) -> None:
        self._rankers: dict[tuple[str, str], Ranker] = defaultdict(Ranker)

    def build(self, session: Session, facts: SuiteFacts) -> PublicBoard:
        """The boards of one suite. Every accepted entry needs its row: see accepted.py."""
        accepted = {one.bundle: one for one in accepted_entries(session, facts.name)}
        lines: dict[str, list[TaskLine]] = defaultdict(list)
        samples: dict[str, dict[str, Sample]] = defaultdict(dict)
        metrics: dict[str, Metric] = {}
        known: dict[tuple[str, ...], tuple[str, ...]] = {}
        stored = select(StoredResult.bundle, StoredResult.row, StoredResult.sample)
        stored = stored.where(StoredResult.suite == facts.name).order_by(StoredResult.bundle)
        for bundle, row, packed in session.execute(stored.execution_options(yield_per=200)):
            entry = accepted.get(bundle)
            if entry is None:
                continue
            line = _line(entry, row)
            lines[entry.task].append(line)
            if packed:
                sample = unpack(packed, known)
                metrics.setdefault(entry.task, sample.metric)
                if not line.unranked:
                    samples[entry.task][line.entry] = sample

        def ranks(task: str, found: Mapping[str, Sequence[Sample]]) -> dict[str, RankInterval]:
            return self._rankers[facts.name, task].ranks(found)

        entries, tasks = ranked({task: lines[task] for task in sorted(lines)}, samples, ranks)
        return PublicBoard(
            suite=facts.name,
            threats={task: without_access(threat) for task, threat in sorted(facts.ranking_threats.items())},
            metrics=metrics,
            entries=entries,
            tasks=tasks,
        )


def _line(entry: Accepted, row: bytes) -> TaskLine:
    """The entry's line as it stands here. The cells in its row are passed over: of ten thousand they are too many."""
    line = msgspec.json.decode(row, type=TaskLine)
    reasons = [line.unranked] if line.unranked else []
    if entry.origin.level != RANKED:
        reasons.insert(0, NOT_RUN_AGAIN.format(level=entry.origin.level))
    return msgspec.structs.replace(line, entry=entry.name, unranked="; ".join(reasons), origin=entry.origin)
