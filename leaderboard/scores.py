"""The worst case per example over attacks, following the metric's direction.

A threat is scored over everything that was run on it, whatever the attacker's access: surface, norm and budget name
it. Each example starts from its clean outcome and takes the worst that any counted attack did to it. Nothing that is
missing can raise a score: a failed, timed-out or absent attack leaves the threat incomplete, its number is then only
a bound, and the entry is not ranked on it. An attack that does not apply is no zero and no proof of robustness.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from leaderboard.diagnostics import Finding, Verdict, findings_of, verdict_of
from leaderboard.results import (
    Examples,
    JournalEntry,
    Label,
    Metric,
    Plan,
    Result,
    ResultError,
    parse_label,
)
from leaderboard.statistics import Array, Sample, sample
from leaderboard.threats import without_access


CLEAN: Final = "none"


class Absent(NamedTuple):
    """A cell of the plan that has no record."""

    id: str
    label: Label


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Per-example numbers, and the sums of the task's further columns per unit of weight."""

    sample: Sample
    columns: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class ThreatScore:
    """One entry under one threat, access stripped. problems: why it is incomplete; empty where it is complete."""

    threat: str
    robust: Outcome | None
    counted: tuple[str, ...]
    results: tuple[Result, ...]
    absent: tuple[Absent, ...]
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return self.robust is not None and not self.problems


@dataclass(frozen=True, slots=True, eq=False)
class TaskScore:
    """One entry on one task. clean_problems: why there is no clean outcome."""

    task: str
    entry: str
    clean: Outcome | None
    clean_results: tuple[Result, ...]
    clean_absent: tuple[Absent, ...]
    clean_problems: tuple[str, ...]
    threats: tuple[ThreatScore, ...]
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.findings)

    def threat(self, threat: str) -> ThreatScore | None:
        """The score under a threat, named with or without its access."""
        return next((score for score in self.threats if score.threat == without_access(threat)), None)


def score(
    plan: Plan, results: Mapping[str, Result], journal: Mapping[str, JournalEntry]
) -> tuple[TaskScore, ...]:
    """Scores every (task, entry) of the plan, sorted. Raises ResultError where one name stands for two models, or
    one task is scored by two metrics."""
    known = {cell_id: results[cell_id] for cell_id in plan.cells if cell_id in results}
    absent, unattributed = _absent_cells(plan, known, journal)
    ran: dict[tuple[str, str], list[Result]] = defaultdict(list)
    lacking: dict[tuple[str, str], list[Absent]] = defaultdict(list)
    for result in known.values():
        ran[result.cell.task, result.cell.model].append(result)
    for missing in absent:
        lacking[missing.label.task, missing.label.model].append(missing)
    _check_one_metric(known.values())
    attacks = _attacks_by_threat(known.values(), absent)
    return tuple(
        _score_entry(task, entry, ran[task, entry], lacking[task, entry], attacks[task], unattributed)
        for task, entry in sorted(ran.keys() | lacking.keys())
    )


def worst_case(clean: Outcome, attacks: Iterable[tuple[Examples, Outcome]]) -> Outcome:
    """Per example the worst of the clean outcome and of every attack: the lower value where higher is better, the
    higher one where lower is better. The further columns follow the attack that was worst."""
    base = clean.sample
    values = base.values.copy()
    raise NotImplementedError
