"""What a task is: data, victims, surfaces, a metric, and one way to measure a victim under a trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from adversarial.diagnostics import Finding
from adversarial.errors import InvalidOption
from adversarial.goals import Goal
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.threats import Threat
from adversarial.victims import Victim
from leaderboard.records.metric import Metric
from leaderboard.records.record import Examples
from tasks import FIT_SPLIT
from tasks.models.recipes import Recipe


CPU: Final = torch.device("cpu")

GoalName = Literal["flip", "worst", "target"]


Attack = Callable[[Problem], None]
Defense = Callable[[Problem], Tensor]  # a train-stage defense, its parameters bound
Fit = Callable[[Callable[[], Iterator[Problem]]], Attack]  # from the fit split's problems, anew at each call
Wanted = Callable[[Inputs, Tensor], Tensor]  # from true observations and each row's step to actions, int64 [batch]


@dataclass(frozen=True, slots=True)
class Trial:
    """What is done to a victim.

    threat: None for the clean pass. attack: works on one Problem, its parameters bound; None for the clean pass.
    seed: of the attack's draws. split, limit: which examples, all where limit is None. batch_size: rows in one pass;
    queue: batches that are loaded together, so that waiting rows take the places of those that are done.
    early_stopping: whether rows leave when they are done. minimum_norm: whether the attack looks for the nearest
    success, without a bound. curve: further budgets to measure, as shares of the threat's own. fit: learns the attack
    on the fit split; then `attack` is None until it has. surrogates: other victims that a transfer attack may ask.
    half: whether the attack searches in bfloat16. wanted: of the goal `target` in episodes, which action an agent
    shall take at each step. Raises InvalidOption for an attack without a threat, and for a fit on what is measured.
    """

    threat: Threat | None
    attack: Attack | None
    goal: GoalName = "flip"
    seed: int = 0
    split: str = "test"
    limit: int | None = None
    batch_size: int = 64
    device: torch.device = CPU
    early_stopping: bool = True
    queue: int = 1
    minimum_norm: bool = False
    curve: tuple[float, ...] = ()
    fit: Fit | None = None
    surrogates: tuple[Victim, ...] = ()
    half: bool = False
    wanted: Wanted | None = None

    def __post_init__(self) -> None:
        if (self.attack is not None or self.fit is not None) and self.threat is None:
            raise InvalidOption("an attack needs a threat; a trial without one is the clean pass")
        if self.fit is not None and self.split == FIT_SPLIT:
            raise InvalidOption(f"attacks that are fitted learn on the split {FIT_SPLIT}; measure them on another one")

    @property
    def shares(self) -> tuple[float, ...]:
        """The budgets that are measured, as shares of the threat's own, which is among them; smallest first."""
        return tuple(sorted({1.0, *self.curve}))


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured.

    examples: in the order of the data, whatever order they were computed in; distances in the units of the threat's
    radius. findings: diagnostics of this cell. evidence: the adversarial examples as tensors, for the safetensors file
    beside the record.
    """

    examples: Examples
    findings: tuple[Finding, ...] = ()
    evidence: Mapping[str, Tensor] = field(default_factory=dict)

    def metric(self) -> float:
        """sum(values) / sum(weights)."""
        return sum(self.examples.values) / sum(self.examples.weights)


@dataclass(frozen=True, slots=True)
class Rescored:
    """What stored examples are and do, in the order of the data.

    values, weights: numerator and denominator of the metric, as a Measurement has them. distances: from the undisturbed
    example, in the units of the threat's radius. over: whether an example is beyond its budget, out of range, or
    changes padding.
    """

    ids: tuple[str, ...]
    values: tuple[float, ...]
    weights: tuple[float, ...]
    distances: tuple[float, ...]
    over: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class ModelInterface:
    """What a task wants of a model. inputs, scores: in words, with types, shapes and ranges. classes: of its decisions,
    None where it makes none among classes."""

    inputs: str
    scores: str
    classes: int | None = None


@runtime_checkable
class Task(Protocol):
    """A domain. One is made by the function that its registry entry names."""

    @property
    def name(self) -> str: ...

    @property
    def metric(self) -> Metric: ...

    @property
    def recipes(self) -> Mapping[str, Recipe]:
        """How each reference model is trained, by name."""

    @property
    def interface(self) -> ModelInterface:
        """What it wants of a model, on the data that it is made of."""

    def load_victim(self, folder: Path, device: torch.device) -> Victim:
        """The model of a folder with `model.safetensors` and `card.json`; raises ModelError."""

    def wrap(self, module: nn.Module) -> Victim:
        """A module from the task's inputs to its scores as a victim, in evaluation mode and frozen."""

    def sample(self, count: int, device: torch.device) -> tuple[Inputs, Goal | None]:
        """Some examples of the test split in one batch, and the goal to make them wrong; None where the model's own
        decisions are what is right."""

    def fault(self, scores: Scores, inputs: Inputs, others: int) -> str:
        """What is wrong with the form of float32 scores [batch, ...] that a model answers to such inputs; empty where
        nothing is. others: scores after those of the classes, for what the model says that is none of them."""

    def measure(self, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
        """Attacks every example and judges the result; the ledger counts the attack's share alone.

        Raises what the attack, the audit and the ledger raise.
        """

    def rescore(self, victim: Victim, trial: Trial, evidence: Mapping[str, Tensor]) -> Rescored:
        """Asks the victim about stored adversarial examples, one forward each. Raises DataError for evidence that is
        not of these examples, NotApplicable where it does not say all."""

    def train(self, recipe: Recipe, defense: Defense | None, folder: Path, report: Callable[[str], None]) -> None:
        """Trains a model and writes it and its card to the folder. defense: the recipe's, None without one."""
