"""Measuring a task whose examples stand still: image, speech, text. One batch, one problem."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from adversarial.audit import audit
from adversarial.diagnostics import Trace
from adversarial.errors import InvalidOption, QueryLimitReached
from adversarial.goals import Goal
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces.protocol import Space
from adversarial.threats import Threat
from adversarial.victims import Victim, weight_versions
from tasks.protocol import GoalName, Measurement, Trial


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


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A batch judged by the metric: values and weights, one a row, and further columns."""

    values: tuple[float, ...]
    weights: tuple[float, ...]
    columns: Mapping[str, tuple[float, ...]]


class StaticTask(Protocol):
    """What measure_static needs of a task."""

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


def measure_static(task: StaticTask, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
    """Attacks, audits and judges every example. Raises what the attack and the audit raise."""
    if trial.attack is not None and trial.threat is None:
        raise InvalidOption("an attack needs a threat; a trial without one is the clean pass")
    trace = Trace()
    rows: dict[int, tuple[str, float, float, float, dict[str, float], Inputs]] = {}
    for batch in task.batches(trial.split, trial.limit, trial.batch_size, trial.device):
        if trial.attack is None or trial.threat is None:
            inputs, distance = batch.inputs, torch.zeros(len(batch.inputs), dtype=torch.float64)
        else:
            inputs, distance = _attack(task, victim, batch, trial, ledger, trace)
        with torch.no_grad():
            scores = victim(inputs)
            if trial.attack is None:
                # The first row is the most padded one of its batch, where rows differ in length.
                trace.add_batch_gap(scores, 0, victim(alone(inputs, 0)))
        trace.add_scores(scores)
        judged = task.outcomes(scores, batch)
        columns = dict(judged.columns)
        if trial.threat is not None:
            columns |= task.distances(distance, trial.threat)
        for row, position in enumerate(batch.positions):
            rows[position] = (
                batch.ids[row],
                judged.values[row],
                judged.weights[row],
                float(distance[row]),
                {name: column[row] for name, column in columns.items()},
                alone(inputs.detach(), row),
            )
    ordered = [rows[position] for position in sorted(rows)]
    moves = trial.threat is not None and trial.attack is not None and trial.threat.radius > 0
    return Measurement(
        ids=tuple(row[0] for row in ordered),
        values=tuple(row[1] for row in ordered),
        weights=tuple(row[2] for row in ordered),
        distances=tuple(row[3] for row in ordered),
        columns={name: tuple(row[4][name] for row in ordered) for name in ordered[0][4]} if ordered else {},
        findings=trace.findings(moves),
        evidence=task.evidence([row[5] for row in ordered]) if moves else {},
    )


def _attack(
    task: StaticTask, victim: Victim, batch: Batch, trial: Trial, ledger: Ledger, trace: Trace
) -> tuple[Inputs, Tensor]:
    assert trial.attack is not None
    assert trial.threat is not None
    space = task.space(victim, batch, trial.threat)
    before, weights = space.inputs.clone(), weight_versions(victim)
    problem = Problem(
        victim,
        space,
        task.goal(batch, trial.goal),
        trial.threat,
        Keys.of(trial.seed, batch.ids, trial.device),
        ledger=ledger,
        early_stopping=trial.early_stopping,
    )
    with contextlib.suppress(QueryLimitReached):  # the budget of queries is the end of the attack, not its fault
        trial.attack(problem)
    audited = audit(space, problem.best.d, before, weights, weight_versions(victim))
    trace.add_search(problem.best, audited.distance)
    return audited.inputs, audited.distance


def alone(inputs: Inputs, row: int) -> Inputs:
    """One row as a batch of its own, without the padding that it needs only in company."""
    values, mask = inputs.values[row : row + 1], inputs.mask
    if mask is None:
        return Inputs(values)
    length = int(mask[row].sum())
    return Inputs(values[:, :length], mask[row : row + 1, :length])
