"""The worst case per example over attacks, following the metric's direction.

A threat is scored over everything that was run on it, whatever the attacker's access: surface, norm and
budget name it. Each example starts from its clean outcome and takes the worst that any counted attack did to
it. Nothing that is missing can raise a score: a failed, timed-out or absent attack leaves the threat
incomplete, its number is then only an upper bound, and the entry is not ranked on it. An attack that does not
apply is no zero and no proof of robustness: it counts neither way and is listed with its reason. Where no search
that asks the model itself applies, the worst case is incomplete, whatever noise and transfer left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from leaderboard.records.canonical import ResultError
from leaderboard.records.metric import Metric
from leaderboard.records.plan import JournalEntry, Label, Plan, parse_label
from leaderboard.records.record import Result
from leaderboard.records.threats import without_access
from leaderboard.scoring.curves import budget_curve
from leaderboard.scoring.diagnostics import EntryFinding, Reliability, find, is_search, verdict_of
from leaderboard.scoring.samples import mean_sample, mismatch, sample_of, worst_case
from leaderboard.scoring.statistics import Sample


CLEAN: Final = "none"


class Absent(NamedTuple):
    """A cell of the plan that has no record."""

    id: str
    label: Label


@dataclass(frozen=True, slots=True, eq=False)
class ThreatScore:
    """One entry under one threat, access stripped. counted: ids of the cells that went into the worst case.

    problems: why the worst case is only a bound, or missing; empty where it is complete. curve: the worst case at
    shares of the budget, where cells recorded them.
    """

    threat: str
    robust: Sample | None
    counted: frozenset[str]
    results: tuple[Result, ...]
    absent: tuple[Absent, ...]
    problems: tuple[str, ...]
    curve: tuple[tuple[float, Sample], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the entry may be ranked on this threat."""
        return self.robust is not None and not self.problems


@dataclass(frozen=True, slots=True, eq=False)
class TaskScore:
    """One entry on one task, with its clean pass and every threat."""

    task: str
    entry: str
    clean: Sample | None
    clean_results: tuple[Result, ...]
    clean_absent: tuple[Absent, ...]
    threats: tuple[ThreatScore, ...]
    findings: tuple[EntryFinding, ...]

    def verdict(self, threat: str) -> Reliability:
        """What is `suspect` or `invalid` has no rank: by findings of the clean pass and of attacks on that threat."""
        return verdict_of(self.concerning(threat))

    def concerning(self, threat: str) -> tuple[EntryFinding, ...]:
        """The findings that bear on a threat, named with or without its access."""
        places = (without_access(threat), CLEAN)
        return tuple(one for one in self.findings if without_access(one.threat) in places)

    def threat(self, threat: str) -> ThreatScore | None:
        """The score under a threat, named with or without its access."""
        return next((found for found in self.threats if found.threat == without_access(threat)), None)

    def ranked(self, threat: str) -> Sample | None:
        """The worst case that ranks the entry on a threat; None where it has no rank."""
        found = self.threat(threat)
        return found.robust if found is not None and not self.unranked(threat) else None

    def unranked(self, threat: str) -> str:
        """Why the entry is not ranked on a threat; empty where it is."""
        found, verdict = self.threat(threat), self.verdict(threat)
        if verdict != "reliable":
            names = sorted({one.name for one in self.concerning(threat) if one.severity == verdict})
            return f"{verdict}: {', '.join(names)}"
        if found is None:
            return f"not measured under {without_access(threat)}"
        return "; ".join(found.problems)


def score(plan: Plan, results: Mapping[str, Result], journal: Mapping[str, JournalEntry]) -> tuple[TaskScore, ...]:
    """Scores every (task, entry) of the plan, sorted; an entry is the name of its model across tasks.

    Raises ResultError where one name stands for two models, or one task is scored by two metrics.
    """
    known = [results[cell_id] for cell_id in sorted(plan.cells) if cell_id in results]
    absent, unknown = _absent_cells(plan, results, journal)
    _check_consistent(known)
    ran: dict[tuple[str, str], list[Result]] = defaultdict(list)
    lacking: dict[tuple[str, str], list[Absent]] = defaultdict(list)
    attacks: dict[tuple[str, str], set[str]] = defaultdict(set)
    for result in known:
        cell = result.cell
        ran[cell.task, cell.model].append(result)
        attacks[cell.task, without_access(cell.threat)].add(cell.attack)
    for missing in absent:
        label = missing.label
        lacking[label.task, label.model].append(missing)
        attacks[label.task, without_access(label.threat)].add(label.attack)
    return tuple(
        _score_entry(task, entry, ran[task, entry], lacking[task, entry], attacks, unknown)
        for task, entry in sorted(ran.keys() | lacking.keys())
    )


def _score_entry(
    task: str,
    entry: str,
    results: Sequence[Result],
    absent: Sequence[Absent],
    attacks: Mapping[tuple[str, str], set[str]],
    unknown: int,
) -> TaskScore:
    clean_results = tuple(one for one in results if one.cell.attack == CLEAN)
    clean_absent = tuple(one for one in absent if one.label.attack == CLEAN)
    clean = _clean_outcome(clean_results)
    shared = []
    if clean is None or clean_absent or any(one.status != "ok" for one in clean_results):
        shared.append("the clean pass has no complete result")
    if unknown:
        shared.append(f"{unknown} cells of the plan have no record and the plan does not say whose they are")
    attacked = [one for one in results if one.cell.attack != CLEAN]
    unrun = [one for one in absent if one.label.attack != CLEAN]
    threats = sorted(
        {without_access(one.cell.threat) for one in attacked} | {without_access(one.label.threat) for one in unrun}
    )
    scores = tuple(
        _score_threat(
            threat,
            clean,
            [one for one in attacked if without_access(one.cell.threat) == threat],
            [one for one in unrun if without_access(one.label.threat) == threat],
            attacks[task, threat] - {CLEAN},
            shared,
        )
        for threat in threats
    )
    return TaskScore(task, entry, clean, clean_results, clean_absent, scores, find(results))


def _score_threat(
    threat: str,
    clean: Sample | None,
    results: Sequence[Result],
    absent: Sequence[Absent],
    expected: set[str],
    shared: Sequence[str],
) -> ThreatScore:
    problems = list(shared)
    ordered = sorted(results, key=lambda one: (one.cell.attack, one.cell.threat, one.id))
    counted: list[tuple[str, Sample]] = []
    for result in ordered:
        if result.status in ("failed", "timeout"):
            problems.append(f"{result.cell.attack}: {result.status}")
        elif result.status == "ok" and clean is not None:
            under_attack = sample_of(result)
            reason = mismatch(clean, under_attack)
            if reason:
                problems.append(f"{result.cell.attack}: {reason}")
            else:
                counted.append((result.id, under_attack))
    problems += [f"{one.label.attack}: missing" for one in absent]
    met = {one.cell.attack for one in results} | {one.label.attack for one in absent}
    problems += [f"{attack}: other entries met it, this one did not" for attack in sorted(expected - met)]
    robust = worst_case(clean, [one for _, one in counted]) if clean is not None and counted else None
    ids = frozenset(cell_id for cell_id, _ in counted)
    if not problems and not any(one.id in ids and is_search(one.cell) for one in ordered):
        problems.append(_without_search(ordered))
    unique = tuple(sorted(set(problems)))
    curve = budget_curve(clean, dict(counted)) if clean is not None else ()
    return ThreatScore(threat, robust, ids, tuple(ordered), tuple(sorted(absent)), unique, curve)


def _without_search(results: Sequence[Result]) -> str:
    reasons = sorted({f"{one.cell.attack}: {one.reason}" for one in results if one.status == "n/a"})
    return "no search on the model itself applies" + "".join(f"; {reason}" for reason in reasons[:2])


def _clean_outcome(results: Sequence[Result]) -> Sample | None:
    measured = [one for one in results if one.status == "ok"]
    if not measured:
        return None
    outcomes = [sample_of(one) for one in measured]
    cell = measured[0].cell
    if any(mismatch(outcomes[0], one) for one in outcomes):
        raise ResultError(
            f"the clean passes of {cell.model} on {cell.task} hold different examples; "
            "expected one set of examples in a plan"
        )
    return mean_sample(outcomes)


def _absent_cells(
    plan: Plan, results: Mapping[str, Result], journal: Mapping[str, JournalEntry]
) -> tuple[list[Absent], int]:
    absent = []
    unknown = 0
    for cell_id in sorted(set(plan.cells) - results.keys()):
        text = plan.labels.get(cell_id) or (journal[cell_id].label if cell_id in journal else None)
        if text is None:
            unknown += 1
        else:
            absent.append(Absent(cell_id, parse_label(text)))
    return absent, unknown


def _check_consistent(results: Iterable[Result]) -> None:
    models: dict[tuple[str, str], tuple[str, str]] = {}
    metrics: dict[str, Metric] = {}
    for result in results:
        if result.status != "ok":
            continue
        cell = result.cell
        victim = (cell.model_hash, cell.defense)
        if models.setdefault((cell.task, cell.model), victim) != victim:
            raise ResultError(
                f"{cell.model} on {cell.task} stands for two models in one plan: "
                f"{models[cell.task, cell.model]} and {victim}. Give each a name and run the suite again"
            )
        if result.metric is not None and metrics.setdefault(cell.task, result.metric) != result.metric:
            raise ResultError(
                f"{cell.task} is scored by {metrics[cell.task]} and by {result.metric}; expected one metric. "
                "Run the suite again into an empty folder"
            )
