"""What a task whose examples stand still hands out, and what it says of them: image, speech, text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from adversarial.goals import Goal
from adversarial.inputs import Inputs, Scores
from adversarial.spaces.protocol import Space
from adversarial.threats import Threat
from adversarial.victims import Victim
from leaderboard.records.metric import Metric
from tasks.measuring.protocol import GoalName


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


def first_examples(task: StaticTask, count: int, device: torch.device) -> tuple[Inputs, Goal]:
    """Some examples of the test split in one batch, and the goal to make them wrong."""
    (batch,) = task.batches("test", count, count, device)
    return batch.inputs, task.goal(batch, "flip")
