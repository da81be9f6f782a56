"""Judging finished batches: what the victim answers to them, and what the task's metric says of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from adversarial.best import Best
from adversarial.diagnostics import Trace
from adversarial.inputs import Inputs, Scores
from adversarial.victims import Victim, ask
from tasks.measuring.batches import Batch, StaticTask
from tasks.measuring.protocol import Trial


@dataclass(frozen=True, slots=True)
class Row:
    """One example judged; inputs: as the victim read it, without padding."""

    id: str
    value: float
    weight: float
    distance: float
    columns: Mapping[str, float]
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class Judge:
    """One victim's judge under one trial; trace: what the diagnostics will want to know."""

    task: StaticTask
    victim: Victim
    trial: Trial
    trace: Trace

    def clean(self, batch: Batch, undisturbed: bool = False) -> list[Row]:
        """The batch as it is. undisturbed: whether this is the clean pass."""
        return self.rows(batch, batch.inputs, torch.zeros(len(batch.inputs), dtype=torch.float64), undisturbed)

    def rows(
        self, batch: Batch, inputs: Inputs, distance: Tensor, undisturbed: bool = False, search: Best | None = None
    ) -> list[Row]:
        """The batch with these inputs. distance: float64 [batch], audited. search: what a search of them had seen."""
        scores = self._scores(inputs)
        if undisturbed or search is not None:
            # The first row is the most padded one of its batch, where rows differ in length.
            everyone = torch.arange(len(inputs), device=inputs.values.device)
            for rows in torch.split(everyone, self.trial.batch_size):
                self.trace.look(self.victim, inputs.take(rows), scores.take(rows))
        if search is not None and self.trial.early_stopping:
            # Of rows that are done: a single step may be submitted in place of a success that can still get worse.
            verdict = self.task.goal(batch, self.trial.goal).judge(scores)
            self.trace.add_verdicts(search.done, verdict.done)
        self.trace.add_scores(scores)
        judged = self.task.outcomes(scores, batch)
        columns = dict(judged.columns)
        if self.trial.goal == "target":
            reached = self.task.goal(batch, "target").judge(scores).success
            columns["reached_target"] = tuple(map(float, reached.tolist()))
        if self.trial.threat is not None:
            columns |= self.task.distances(distance, self.trial.threat)
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
        width = self.trial.batch_size
        if len(inputs) <= width:
            return ask(self.victim, inputs)
        everyone = torch.arange(len(inputs), device=inputs.values.device)
        with torch.no_grad():  # what is taken is a copy already
            parts = [self.victim(inputs.take(rows)) for rows in torch.split(everyone, width)]
        masks = [part.mask for part in parts if part.mask is not None]
        mask = torch.cat(masks) if masks else None
        return Scores(torch.cat([part.values for part in parts]), mask, parts[0].reader)
