"""Measuring a task whose examples stand still: image, speech, text. One batch, one problem."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from adversarial.audit import audit
from adversarial.best import Best
from adversarial.diagnostics import Trace
from adversarial.errors import InvalidOption, QueryLimitReached
from adversarial.goals import Goal
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces.protocol import Space
from adversarial.threats import Threat
from adversarial.victims import Victim, ask, weight_versions
from leaderboard.records.metric import Metric
from leaderboard.records.record import BUDGET_PREFIX, NEAREST
from tasks import FIT_SPLIT
from tasks.measuring.protocol import Attack, Fit, GoalName, Measurement, Trial


@dataclass(frozen=True, slots=True)
class Batch:
    """Some examples.

    ids: of the examples. positions: their places in the split. inputs: what victims read. truth: what the task needs
    to judge them (labels, transcripts), one a row.
    """

    ids: tuple[str, ...]
    positions: tuple[int, ...]
    inputs: Inputs
    truth: tuple[object, ...]

    def take(self, rows: Tensor) -> Batch:
        """Some rows, by index."""
        chosen = rows.tolist()
        return Batch(
            ids=tuple(self.ids[row] for row in chosen),
            positions=tuple(self.positions[row] for row in chosen),
            inputs=self.inputs.take(rows),
            truth=tuple(self.truth[row] for row in chosen),
        )


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A batch judged by the metric: values and weights, one a row, and further columns."""

    values: tuple[float, ...]
    weights: tuple[float, ...]
    columns: Mapping[str, tuple[float, ...]]


class StaticTask(Protocol):
    """What measure_static needs of a task."""

    @property
    def metric(self) -> Metric: ...

    def batches(self, split: str, limit: int | None, batch_size: int, device: torch.device) -> Iterable[Batch]:
        """The split in batches, rows of similar length together."""

    def space(self, victim: Victim, batch: Batch, threat: Threat) -> Space:
        """Where the attack works; raises NotApplicable for a surface that the victim does not offer."""

    def goal(self, batch: Batch, goal: GoalName) -> Goal: ...

    def outcomes(self, scores: Scores, batch: Batch) -> Outcomes: ...

    def distances(self, distance: Tensor, threat: Threat) -> Mapping[str, tuple[float, ...]]:
        """Further columns made of the audited distances, such as the signal-to-noise ratio in decibels."""

    def evidence(self, inputs: list[Inputs]) -> dict[str, Tensor]:
        """The disturbed examples, in the order of the data, as tensors to store."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example judged; inputs: as the victim read it, without padding."""

    id: str
    value: float
    weight: float
    distance: float
    columns: Mapping[str, float]
    inputs: Inputs


def measure_static(task: StaticTask, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
    """Attacks, audits and judges every example. Raises what the attack and the audit raise."""
    if (trial.attack is not None or trial.fit is not None) and trial.threat is None:
        raise InvalidOption("an attack needs a threat; a trial without one is the clean pass")
    if trial.fit is not None:
        trial = replace(trial, attack=_learned(task, victim, trial, trial.fit, ledger))
    search = _Search(task, victim, trial, ledger)
    rows: dict[int, Row] = {}
    for batch in task.batches(trial.split, trial.limit, trial.batch_size * trial.queue, trial.device):
        if trial.attack is None:
            found = search.clean(batch, undisturbed=True)
        elif trial.minimum_norm:
            found = search.nearest(batch)
        else:
            found = search.ladder(batch)
        rows.update(zip(batch.positions, found, strict=True))
    ordered = [rows[position] for position in sorted(rows)]
    moves = trial.threat is not None and trial.attack is not None and trial.threat.radius > 0
    return Measurement(
        ids=tuple(row.id for row in ordered),
        values=tuple(row.value for row in ordered),
        weights=tuple(row.weight for row in ordered),
        distances=tuple(row.distance for row in ordered),
        columns={name: tuple(row.columns[name] for row in ordered) for name in ordered[0].columns} if ordered else {},
        findings=search.trace.findings(moves),
        evidence=task.evidence([row.inputs for row in ordered]) if moves else {},
    )


def _learned(task: StaticTask, victim: Victim, trial: Trial, fit: Fit, ledger: Ledger) -> Attack:
    if trial.split == FIT_SPLIT:
        raise InvalidOption(f"attacks that are fitted learn on the split {FIT_SPLIT}; measure them on another one")
    assert trial.threat is not None
    threat = trial.threat

    def problems() -> Iterator[Problem]:
        for batch in task.batches(FIT_SPLIT, None, trial.batch_size, trial.device):
            keys = Keys.of(trial.seed, batch.ids, trial.device).fold("fit")
            space, goal = task.space(victim, batch, threat), task.goal(batch, trial.goal)
            yield Problem(victim, space, goal, threat, keys, ledger=ledger, early_stopping=False, half=trial.half)

    return fit(problems)


class _Search:
    """One trial on one batch after the other; trace: what the diagnostics will want to know."""

    def __init__(self, task: StaticTask, victim: Victim, trial: Trial, ledger: Ledger) -> None:
        self._task, self._victim, self._trial, self._ledger = task, victim, trial, ledger
        self.trace = Trace()

    def clean(self, batch: Batch, undisturbed: bool = False) -> list[Row]:
        """The batch as it is."""
        return self._judged(batch, batch.inputs, torch.zeros(len(batch.inputs), dtype=torch.float64), undisturbed)

    def ladder(self, batch: Batch) -> list[Row]:
        """The attack at each budget, smallest first, on the rows that a smaller one has not finished; what a smaller
        one did counts at a larger one."""
        assert self._trial.threat is not None
        rows: list[Row | None] = [None] * len(batch.ids)
        values: dict[float, list[float]] = {}
        going = torch.arange(len(batch.ids), device=batch.inputs.values.device)
        for share in self._trial.shares:
            threat = self._trial.threat if share == 1 else self._trial.threat.scaled(share)
            if len(going):
                part = batch if len(going) == len(batch.ids) else batch.take(going)
                if threat.norm == "l0" and threat.radius < 1:  # not one feature may change: there is nothing to search
                    found, done = self.clean(part), torch.zeros_like(going, dtype=torch.bool)
                else:
                    problem, audited = self._attacked(part, threat)
                    found, done = self._judged(part, *audited, search=problem.best), problem.best.done
                for place, row in zip(going.tolist(), found, strict=True):
                    before = rows[place]
                    if before is None or not self._task.metric.worse(before.value, row.value):
                        rows[place] = row
                going = going[~done]
            values[share] = [row.value for row in rows if row is not None]
            if share == 1:
                nominal = [row for row in rows if row is not None]
        if not self._trial.curve:
            return nominal
        return [_with_curve(row, {share: values[share][i] for share in values}) for i, row in enumerate(nominal)]

    def nearest(self, batch: Batch) -> list[Row]:
        """The attack without a bound; its example counts at every budget that its distance is within."""
        threat = self._trial.threat
        assert threat is not None
        problem, (inputs, distance) = self._attacked(batch, threat, unbounded=True)
        space = self._task.space(self._victim, batch, threat)
        # The undisturbed inputs as the space has them: word vectors where these are what is attacked.
        clean = self._judged(batch, space.inputs, torch.zeros_like(distance))
        attacked = self._judged(batch, inputs, distance)
        found = problem.best.success.tolist()
        radius, tolerance = space.radius.tolist(), space.tolerance().tolist()
        rows = []
        for i, (before, after) in enumerate(zip(clean, attacked, strict=True)):
            # A success that asking once more does not show is none: kernels round differently in other company.
            shown = after.columns.get("reached_target", float(after.value != before.value or after.distance == 0))
            found[i] = found[i] and bool(shown)
            within = {
                share: found[i] and after.distance <= radius[i] * share + tolerance[i] for share in self._trial.shares
            }
            row = after if within[1.0] else before
            row = replace(row, columns={**row.columns, NEAREST: after.distance if found[i] else -1.0})
            curve = {share: (after if inside else before).value for share, inside in within.items()}
            rows.append(_with_curve(row, curve) if self._trial.curve else row)
        return rows

    def _attacked(self, batch: Batch, threat: Threat, unbounded: bool = False) -> tuple[Problem, tuple[Inputs, Tensor]]:
        task, victim, trial = self._task, self._victim, self._trial
        assert trial.attack is not None
        space = task.space(victim, batch, threat)
        if unbounded:
            space = space.with_budget(torch.full_like(space.radius, torch.inf))
        before, weights = space.inputs.clone(), weight_versions(victim)
        keys = Keys.of(trial.seed, batch.ids, trial.device)
        goal, ask = task.goal(batch, trial.goal), threat.on_surrogates()
        problem = Problem(
            victim,
            space,
            goal,
            threat,
            keys,
            ledger=self._ledger,
            early_stopping=trial.early_stopping,
            minimum_norm=trial.minimum_norm,
            width=trial.batch_size,
            surrogates=tuple(
                Problem(
                    surrogate,
                    task.space(surrogate, batch, threat),
                    goal,
                    ask,
                    keys,
                    ledger=self._ledger,
                    early_stopping=False,
                    own_model=True,
                )
                for surrogate in trial.surrogates
            ),
            half=trial.half,
        )
        with contextlib.suppress(QueryLimitReached):  # the budget of queries is the end of the attack, not its fault
            trial.attack(problem)
        audited = audit(space, problem.best.d, before, weights, weight_versions(victim))
        self.trace.add_search(problem.best, audited.distance)
        return problem, (audited.inputs, audited.distance)

    def _judged(
        self, batch: Batch, inputs: Inputs, distance: Tensor, undisturbed: bool = False, search: Best | None = None
    ) -> list[Row]:
        """undisturbed: whether this is the clean pass. search: what a search of these inputs had seen."""
        scores = self._scores(inputs)
        if undisturbed or search is not None:
            # The first row is the most padded one of its batch, where rows differ in length.
            everyone = torch.arange(len(inputs), device=inputs.values.device)
            for rows in torch.split(everyone, self._trial.batch_size):
                self.trace.look(self._victim, inputs.take(rows), scores.take(rows))
        if search is not None and self._trial.early_stopping:
            # Of rows that are done: a single step may be submitted in place of a success that can still get worse.
            verdict = self._task.goal(batch, self._trial.goal).judge(scores)
            self.trace.add_verdicts(search.done, verdict.done)
        self.trace.add_scores(scores)
        judged = self._task.outcomes(scores, batch)
        columns = dict(judged.columns)
        if self._trial.goal == "target":
            reached = self._task.goal(batch, "target").judge(scores).success
            columns["reached_target"] = tuple(map(float, reached.tolist()))
        if self._trial.threat is not None:
            columns |= self._task.distances(distance, self._trial.threat)
        return [
            Row(
                batch.ids[row],
                judged.values[row],
                judged.weights[row],
                float(distance[row]),
                {name: column[row] for name, column in columns.items()},
                inputs.detach().alone(row),
            )
            for row in range(len(batch.ids))
        ]

    def _scores(self, inputs: Inputs) -> Scores:
        width = self._trial.batch_size
        if len(inputs) <= width:
            return ask(self._victim, inputs)
        everyone = torch.arange(len(inputs), device=inputs.values.device)
        with torch.no_grad():  # what is taken is a copy already
            parts = [self._victim(inputs.take(rows)) for rows in torch.split(everyone, width)]
        masks = [part.mask for part in parts if part.mask is not None]
        mask = torch.cat(masks) if masks else None
        return Scores(torch.cat([part.values for part in parts]), mask, parts[0].reader)


def _with_curve(row: Row, values: Mapping[float, float]) -> Row:
    named = {f"{BUDGET_PREFIX}{share:g}": value for share, value in values.items()}
    return replace(row, columns={**row.columns, **named})
