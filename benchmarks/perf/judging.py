"""What the speed tests need around an attack: models and images to run on, and one judge for every library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
import torch
from torch import Tensor, nn

from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.spaces import pixels
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim
from benchmarks.perf import models, peers
from benchmarks.perf.data import DataMissing, pictures


TOLERANCE: Final = 1e-5  # of a budget, for the rounding of whoever added the perturbation

needs_peers = pytest.mark.skipif(not peers.installed(*peers.NAMES), reason=peers.ABSENT)
peer_warnings = pytest.mark.filterwarnings("ignore")  # of libraries that are older than their dependencies


def model_or_skip(name: str) -> nn.Module:
    try:
        return models.model(name)
    except DataMissing as error:
        pytest.skip(str(error))


def pictures_or_skip(name: str, count: int) -> tuple[Tensor, Tensor]:
    """The first images of the test split."""
    try:
        return pictures(name, "test", count)
    except DataMissing as error:
        pytest.skip(str(error))


@torch.no_grad()
def predictions(module: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([module(part).argmax(1) for part in torch.split(images, 250)])


def survivors(module: nn.Module, clean: Tensor, labels: Tensor, found: Tensor, budget: float) -> float:
    """Robust accuracy in linf; an image beyond its budget, or outside of [0, 1], is counted as one that survived."""
    lengths = (found - clean).abs().flatten(1).amax(1)
    flat = found.flatten(1)
    allowed = (lengths <= budget + TOLERANCE) & (flat.amin(1) >= 0) & (flat.amax(1) <= 1)
    return float(((predictions(module, found) == labels) | ~allowed).float().mean())


def nearest(module: nn.Module, clean: Tensor, labels: Tensor, found: Tensor) -> dict[str, float]:
    """Success rate, and the mean l2 norm over the successful rows."""
    success = predictions(module, found) != labels
    lengths = (found - clean).flatten(1).double().norm(dim=1)
    return {"success": float(success.double().mean()), "mean norm": float(lengths[success].mean())}


class Recorder(ModuleVictim):
    """A victim that notes how many rows each pass had and whether a gradient went back through it."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__(module)
        self.passes: list[tuple[int, bool]] = []

    def __call__(self, inputs: Inputs) -> Scores:
        self.passes.append((len(inputs), inputs.values.requires_grad))
        return super().__call__(inputs)


def passes_of(
    attack: Callable[[Problem], None], module: nn.Module, images: Tensor, labels: Tensor, threat: str, size: int
) -> list[tuple[int, bool]]:
    """The passes that an attack asks its Problems for, in the batches and with the draws of `benchmarks.attack`."""
    victim, parsed = Recorder(module), Threat.parse(threat)
    for start in range(0, len(images), size):
        rows = slice(start, min(start + size, len(images)))
        ids = [str(row) for row in range(rows.start, rows.stop)]
        space = pixels(Inputs(images[rows]), parsed)
        attack(Problem(victim, space, Flip(labels[rows]), parsed, Keys.of(0, ids)))
    return victim.passes


def bare_loop(module: nn.Module, images: Tensor, labels: Tensor, passes: list[tuple[int, bool]]) -> None:
    """Forwards and backwards with so many rows each, and nothing else: what no attack can do without."""
    for rows, backward in passes:
        values = images[:rows].detach()
        if backward:
            variable = values.requires_grad_(True)
            torch.autograd.grad(nn.functional.cross_entropy(module(variable), labels[:rows]), variable)
        else:
            with torch.no_grad():
                module(values)


def rounded(facts: dict[str, Any]) -> dict[str, Any]:
    """Numbers as a table shows them."""
    return {
        name: rounded(value) if isinstance(value, dict) else round(value, 4) if isinstance(value, float) else value
        for name, value in facts.items()
    }
