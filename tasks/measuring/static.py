"""Measuring a task whose examples stand still: image, speech, text. One batch, one problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch

from adversarial.diagnostics import Trace
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.threats import Threat
from adversarial.victims import Victim
from leaderboard.records.record import BUDGET_PREFIX, NEAREST, Examples
from tasks import FIT_SPLIT
from tasks.measuring.attacking import Case, attacked, fitted
from tasks.measuring.batches import Batch, StaticTask
from tasks.measuring.judging import Judge, Row
from tasks.measuring.protocol import Measurement, Trial


def measure_static(task: StaticTask, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
    """Attacks, audits and judges every example. Raises what the attack and the audit raise."""
    if trial.fit is not None:
        trial = fitted(partial(_to_learn_on, task, victim, trial), trial, ledger)
    trace = Trace()
    search = _Search(task, victim, trial, ledger, Judge(task, victim, trial, trace))
    rows: dict[int, Row] = {}
    for batch in task.batches(trial.split, trial.limit, trial.batch_size * trial.queue, trial.device):
        if trial.attack is None:
            found = search.judge.clean(batch, undisturbed=True)
        elif trial.minimum_norm:
            found = search.nearest(batch)
        else:
            found = search.ladder(batch)
        rows.update(zip(batch.positions, found, strict=True))
    ordered = [rows[position] for position in sorted(rows)]
    moves = trial.threat is not None and trial.attack is not None and trial.threat.radius > 0
    names = ordered[0].columns if ordered else ()
    return Measurement(
        Examples(
            ids=tuple(row.id for row in ordered),
            values=tuple(row.value for row in ordered),
            weights=tuple(row.weight for row in ordered),
            distances=tuple(row.distance for row in ordered),
            columns={name: tuple(row.columns[name] for row in ordered) for name in names},
        ),
        findings=trace.findings(moves),
        evidence=task.evidence([row.inputs for row in ordered]) if moves else {},
    )


def _to_learn_on(task: StaticTask, victim: Victim, trial: Trial) -> Iterable[Case]:
    assert trial.threat is not None
    for batch in task.batches(FIT_SPLIT, None, trial.batch_size, trial.device):
        yield _case(task, victim, batch, trial, trial.threat)


def _case(task: StaticTask, victim: Victim, batch: Batch, trial: Trial, threat: Threat) -> Case:
    return Case(
        victim,
        task.space(victim, batch, threat),
        task.goal(batch, trial.goal),
        Keys.of(trial.seed, batch.ids, trial.device),
        surrogates=tuple((surrogate, task.space(surrogate, batch, threat)) for surrogate in trial.surrogates),
        width=trial.batch_size,
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """One trial on one batch after the other."""

    task: StaticTask
    victim: Victim
    trial: Trial
    ledger: Ledger
    judge: Judge

    def ladder(self, batch: Batch) -> list[Row]:
        """The attack at each budget, smallest first, on the rows that a smaller one has not finished; what a smaller
        one did counts at a larger one."""
        trial, judge = self.trial, self.judge
        assert trial.threat is not None
        rows: list[Row | None] = [None] * len(batch.ids)
        values: dict[float, list[float]] = {}
        going = torch.arange(len(batch.ids), device=batch.inputs.values.device)
        for share in trial.shares:
            threat = trial.threat if share == 1 else trial.threat.scaled(share)
            if len(going):
                part = batch if len(going) == len(batch.ids) else batch.take(going)
                if threat.norm == "l0" and threat.radius < 1:  # not one feature may change: there is nothing to search
                    found, done = judge.clean(part), torch.zeros_like(going, dtype=torch.bool)
                else:
                    case = _case(self.task, self.victim, part, trial, threat)
                    one = attacked(case, replace(trial, threat=threat), self.ledger, judge.trace)
                    found, done = judge.rows(part, one.inputs, one.distance, search=one.best), one.best.done
                for place, row in zip(going.tolist(), found, strict=True):
                    before = rows[place]
                    if before is None or not self.task.metric.worse(before.value, row.value):
                        rows[place] = row
                going = going[~done]
            values[share] = [row.value for row in rows if row is not None]
            if share == 1:
                nominal = [row for row in rows if row is not None]
        if not trial.curve:
            return nominal
        return [_with_curve(row, {share: values[share][i] for share in values}) for i, row in enumerate(nominal)]

    def nearest(self, batch: Batch) -> list[Row]:
        """The attack without a bound; its example counts at every budget that its distance is within."""
        trial, judge = self.trial, self.judge
        assert trial.threat is not None
        case = _case(self.task, self.victim, batch, trial, trial.threat)
        one, space = attacked(case, trial, self.ledger, judge.trace), case.space
        # The undisturbed inputs as the space has them: word vectors where these are what is attacked.
        clean = judge.rows(batch, space.inputs, torch.zeros_like(one.distance))
        disturbed = judge.rows(batch, one.inputs, one.distance)
        found = one.best.success.tolist()
        radius, tolerance = space.radius.tolist(), space.tolerance().tolist()
        rows = []
        for i, (before, after) in enumerate(zip(clean, disturbed, strict=True)):
            # A success that asking once more does not show is none: kernels round differently in other company.
            shown = after.columns.get("reached_target", float(after.value != before.value or after.distance == 0))
            found[i] = found[i] and bool(shown)
            within = {share: found[i] and after.distance <= radius[i] * share + tolerance[i] for share in trial.shares}
            row = after if within[1.0] else before
            row = replace(row, columns={**row.columns, NEAREST: after.distance if found[i] else -1.0})
            curve = {share: (after if inside else before).value for share, inside in within.items()}
            rows.append(_with_curve(row, curve) if trial.curve else row)
        return rows


def _with_curve(row: Row, values: Mapping[float, float]) -> Row:
    named = {f"{BUDGET_PREFIX}{share:g}": value for share, value in values.items()}
    return replace(row, columns={**row.columns, **named})
