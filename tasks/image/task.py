"""The task `image-digits`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from adversarial.errors import NotApplicable
from adversarial.goals import Flip, Goal
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.spaces import Space, pixels
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim, Victim
from leaderboard.records.metric import Metric
from tasks.data import OwnData
from tasks.image import custom_data as images
from tasks.image.dataset import Digits, data_hash, load_split
from tasks.image.model import ARCHITECTURES
from tasks.image.recipes import RECIPES
from tasks.measuring.batches import Batch, Outcomes
from tasks.measuring.protocol import Defense, GoalName, Measurement, Rescored, Trial
from tasks.measuring.rescoring import rescore_static, tensor_of
from tasks.measuring.static import measure_static
from tasks.measuring.training import train_static, write_model
from tasks.models.architectures import build
from tasks.models.cards import read_card
from tasks.models.recipes import Recipe


class ImageDigits:
    """Handwritten digits, 8 x 8 pixels in [0, 1], ten classes; accuracy. data: other pictures, by split."""

    name = "image-digits"
    metric = Metric("accuracy", floor=0.0, ceiling=1.0)
    recipes: Mapping[str, Recipe] = RECIPES

    def __init__(self, data: Callable[[str], Digits] | None = None) -> None:
        self._data = _split if data is None else data

    def load_victim(self, folder: Path, device: torch.device) -> Victim:
        return ModuleVictim(build(ARCHITECTURES, folder, read_card(folder)).to(device))

    def measure(self, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
        return measure_static(self, victim, trial, ledger)

    def batches(self, split: str, limit: int | None, batch_size: int, device: torch.device) -> Iterator[Batch]:
        digits = self._data(split)
        yield from _batches(digits, range(len(digits.ids))[:limit], batch_size, device)

    def space(self, victim: Victim, batch: Batch, threat: Threat) -> Space:  # noqa: ARG002
        if threat.surface != "pixels":
            raise NotApplicable(f"image-digits offers pixels, not {threat.surface}")
        return pixels(batch.inputs, threat)

    def goal(self, batch: Batch, goal: GoalName) -> Goal:  # noqa: ARG002  (a class decision is as wrong as can be)
        return Flip(torch.tensor(cast("tuple[int, ...]", batch.truth), device=batch.inputs.values.device))

    def outcomes(self, scores: Scores, batch: Batch) -> Outcomes:
        decisions = scores.values.argmax(1).tolist()
        finite = scores.finite().tolist()
        right = tuple(
            float(ok and decision == label) for ok, decision, label in zip(finite, decisions, batch.truth, strict=True)
        )
        return Outcomes(right, (1.0,) * len(right), {})

    def distances(self, distance: Tensor, threat: Threat) -> Mapping[str, tuple[float, ...]]:  # noqa: ARG002
        return {}

    def evidence(self, inputs: list[Inputs]) -> dict[str, Tensor]:
        return {"images": torch.cat([row.values for row in inputs])}

    def tensors(self, threat: Threat) -> tuple[str, ...]:  # noqa: ARG002
        return ("images",)

    def stored(self, evidence: Mapping[str, Tensor]) -> list[Inputs]:
        images = tensor_of(evidence, "images", torch.float32)
        return [Inputs(image) for image in torch.split(images, 1)]

    def rescore(self, victim: Victim, trial: Trial, evidence: Mapping[str, Tensor]) -> Rescored:
        return rescore_static(self, victim, trial, evidence)

    def training_batches(self, recipe: Recipe, epoch: int) -> Iterator[Batch]:
        digits = _split("train")
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(digits.ids)).tolist()
        yield from _batches(digits, order, recipe.batch_size, torch.device("cpu"))

    def train(self, recipe: Recipe, defense: Defense | None, folder: Path, report: Callable[[str], None]) -> None:
        arguments = {"width": 32}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            module: nn.Module = ARCHITECTURES["small-conv"](**arguments)
            clean_loss = train_static(self, module, _Trainable, recipe, defense, report)
        write_model(self, module, "small-conv", arguments, recipe, data_hash("train"), clean_loss, folder)


class _Trainable:
    """A module as a victim whose weights still learn."""

    differentiable = True

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, inputs: Inputs) -> Scores:
        return Scores(self._module(inputs.values))


@lru_cache(maxsize=3)
def _split(split: str) -> Digits:
    return load_split(split)


def _batches(digits: Digits, order: range | list[int], batch_size: int, device: torch.device) -> Iterator[Batch]:
    for start in range(0, len(order), batch_size):
        chosen = list(order[start : start + batch_size])
        yield Batch(
            ids=tuple(digits.ids[i] for i in chosen),
            positions=tuple(chosen),
            inputs=Inputs(torch.from_numpy(digits.images[chosen]).to(device)),
            truth=tuple(int(digits.labels[i]) for i in chosen),
        )


def make() -> ImageDigits:
    """The task, as its registry entry names it."""
    return ImageDigits()


def on_data(data: OwnData) -> ImageDigits:
    """The task on a user's own pictures."""
    return ImageDigits(lru_cache(partial(images.load, data)))
