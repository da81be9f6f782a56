"""Any task whose examples are arrays of one shape with a class each: all that one needs is said here as data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adversarial.errors import NotApplicable
from adversarial.goals import Flip, Goal
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.spaces.protocol import Space
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim, Victim
from leaderboard.records.metric import Metric
from tasks.measuring.batches import Batch, Outcomes, first_examples
from tasks.measuring.classes import class_fault, class_outcomes
from tasks.measuring.protocol import Defense, GoalName, Measurement, ModelInterface, Rescored, Trial
from tasks.measuring.rescoring import rescore_static, tensor_of
from tasks.measuring.static import measure_static
from tasks.measuring.training import train_static, write_model
from tasks.models.architectures import build
from tasks.models.cards import read_card
from tasks.models.recipes import Recipe


ACCURACY: Final = Metric("accuracy", floor=0.0, ceiling=1.0)


@dataclass(frozen=True, slots=True)
class Labelled:
    """One split. ids: of the examples. values: float32 [examples, ...]. labels: int64 [examples]."""

    ids: tuple[str, ...]
    values: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Classification:
    """A classification task; accuracy.

    name: as registered. interface: what it wants of a model. load: a split by its name, the same object each time.
    data_hash: a split's. surface: where it
    can be attacked. space: from (inputs, threat) on that surface. architectures: by the name that a card gives.
    trained: the name and the arguments of the architecture that recipes train. stored_as: the name of the tensor of
    adversarial examples: pages show `images` as pictures.
    """

    name: str
    interface: ModelInterface
    load: Callable[[str], Labelled]
    data_hash: Callable[[str], str]
    surface: str
    make_space: Callable[[Inputs, Threat], Space]
    architectures: Mapping[str, Callable[..., nn.Module]]
    trained: tuple[str, Mapping[str, Any]]
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    stored_as: str = "inputs"
    metric: Metric = ACCURACY

    def load_victim(self, folder: Path, device: torch.device) -> Victim:
        return self.wrap(build(self.architectures, folder, read_card(folder)).to(device))

    def wrap(self, module: nn.Module) -> Victim:
        return ModuleVictim(module)

    def sample(self, count: int, device: torch.device) -> tuple[Inputs, Goal]:
        return first_examples(self, count, device)

    def fault(self, scores: Scores, inputs: Inputs, others: int) -> str:  # noqa: ARG002
        return class_fault(scores, self.interface.classes, others)

    def measure(self, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
        return measure_static(self, victim, trial, ledger)

    def batches(self, split: str, limit: int | None, batch_size: int, device: torch.device) -> Iterator[Batch]:
        data = self.load(split)
        yield from _batches(data, range(len(data.ids))[:limit], batch_size, device)

    def space(self, victim: Victim, batch: Batch, threat: Threat) -> Space:  # noqa: ARG002
        if threat.surface != self.surface:
            raise NotApplicable(f"{self.name} offers {self.surface}, not {threat.surface}")
        return self.make_space(batch.inputs, threat)

    def goal(self, batch: Batch, goal: GoalName) -> Goal:  # noqa: ARG002  (a class decision is as wrong as can be)
        return Flip(torch.tensor(cast("tuple[int, ...]", batch.truth), device=batch.inputs.values.device))

    def outcomes(self, scores: Scores, batch: Batch) -> Outcomes:
        return class_outcomes(scores, batch.truth)

    def distances(self, distance: Tensor, threat: Threat) -> Mapping[str, tuple[float, ...]]:  # noqa: ARG002
        return {}

    def evidence(self, inputs: list[Inputs]) -> dict[str, Tensor]:
        return {self.stored_as: torch.cat([row.values for row in inputs])}

    def tensors(self, threat: Threat) -> tuple[str, ...]:  # noqa: ARG002
        return (self.stored_as,)

    def stored(self, evidence: Mapping[str, Tensor]) -> list[Inputs]:
        return [Inputs(row) for row in torch.split(tensor_of(evidence, self.stored_as, torch.float32), 1)]

    def rescore(self, victim: Victim, trial: Trial, evidence: Mapping[str, Tensor]) -> Rescored:
        return rescore_static(self, victim, trial, evidence)

    def training_batches(self, recipe: Recipe, epoch: int) -> Iterator[Batch]:
        data = self.load("train")
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(data.ids)).tolist()
        yield from _batches(data, order, recipe.batch_size, torch.device("cpu"))

    def train(self, recipe: Recipe, defense: Defense | None, folder: Path, report: Callable[[str], None]) -> None:
        architecture, arguments = self.trained
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            module = self.architectures[architecture](**arguments)
            clean_loss = train_static(self, module, _Trainable, recipe, defense, report)
        digest = self.data_hash("train")
        write_model(self, module, architecture, dict(arguments), recipe, digest, clean_loss, folder)


class _Trainable:
    """A module as a victim whose weights still learn."""

    differentiable = True

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, inputs: Inputs) -> Scores:
        return Scores(self._module(inputs.values))


def _batches(data: Labelled, order: range | list[int], batch_size: int, device: torch.device) -> Iterator[Batch]:
    for start in range(0, len(order), batch_size):
        chosen = list(order[start : start + batch_size])
        yield Batch(
            ids=tuple(data.ids[i] for i in chosen),
            positions=tuple(chosen),
            inputs=Inputs(torch.from_numpy(data.values[chosen]).to(device)),
            truth=tuple(int(data.labels[i]) for i in chosen),
        )
