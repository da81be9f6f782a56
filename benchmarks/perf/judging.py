"""What the speed tests need around an attack: models and images to run on, and one judge for every library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from adversarial.ledger import Ledger
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


def passes_of(run: Callable[[], object]) -> list[tuple[int, bool]]:
    """The passes that an attack asks its problems for, as their ledger notes them: rows, and whether a gradient went
    back through them. The audit's passes are not among them."""
    found: list[tuple[int, bool]] = []

    def forward(ledger: Ledger, rows: int, queries: int | None = None) -> None:
        found.append((rows, False))
        original(ledger, rows, queries)

    def backward(ledger: Ledger, rows: int) -> None:
        assert found[-1][0] == rows, "a backward of other rows than the forward before it"
        found[-1] = (rows, True)
        ledger.backwards += rows

    original = Ledger.forward
    with mock.patch.object(Ledger, "forward", forward), mock.patch.object(Ledger, "backward", backward):
        run()
    return found


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
