"""A cell that is to be measured, and the model that it names."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from adversarial.entries import Pace, TaskEntry
from benchmarks.suites.suite import NONE
from leaderboard.records.record import Cell
from tasks.models.cards import model_hash, read_card


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model that cells name. hash: what identifies it in a cell. source: where a custom one comes from, empty for a
    reference model."""

    name: str
    hash: str
    defense: str
    source: str = ""

    @classmethod
    def reference(cls, task: TaskEntry, name: str) -> ModelRef:
        """Raises ModelError where its files are missing."""
        folder = Path(task.folder) / name
        return cls(name, model_hash(folder), read_card(folder).defense)


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell and how it is measured. It holds names and no path, so that any machine can measure it: see Workplace.

    reason: why it is n/a, empty where it runs. custom: whether it is a model of the user's own, and no reference.
    surrogates: reference models that a transfer attack asks. data: id of a user's own data, empty where the task has
    its own. pace: what the task's cells take. The rest is as in an attack's entry and in a trial's specification.
    """

    cell: Cell
    timeout_seconds: float
    reason: str = ""
    id: str = ""
    stage: str = "test"
    minimum_norm: bool = False
    curve: tuple[float, ...] = ()
    queue: int = 1
    surrogates: tuple[str, ...] = ()
    custom: bool = False
    data: str = ""
    pace: Pace = field(default_factory=Pace)

    @property
    def group(self) -> tuple[str, str]:
        """Cells of one group share a loaded model."""
        return self.cell.task, self.cell.model

    @property
    def effort(self) -> float:
        """A rough number of passes a row: what orders cells cheapest first, and what is left to do.

        It grows more slowly than the steps that are asked for, since rows leave once they are broken.
        """
        if self.cell.attack == NONE:
            return 1.0
        repeats = math.prod(n for name in _REPEATS if isinstance(n := self.cell.params.get(name, 1), int) and n > 0)
        passes = repeats * (1 if self.minimum_norm else 1 + len(self.curve))
        learned = _FITTING if self.stage == "fit" else 1
        return 1.0 + 3.0 * math.pow(passes, 0.9) * learned * (1 + len(self.surrogates))


# Parameters that multiply passes.
_REPEATS: Final = ("steps", "restarts", "binary_steps", "targets", "beam", "epochs", "rounds", "exchanges")
_FITTING: Final = 6  # how much more a pass over the data that an attack is learned on takes
