"""Universal perturbations against ART, which moves one image at a time. `make perf` runs this."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest
import torch
from torch import Tensor, nn

from benchmarks.perf import judging, models, peers
from benchmarks.perf.timing import OURS, note, race
from robustarena import attack


pytestmark = [judging.needs_peers, judging.peer_warnings]

COUNT, BUDGET = 100, 0.3
PASSES: Final = 1  # of ART over the images; ten take minutes and fool hardly more
ROUNDS: Final = 2  # ART takes minutes, and the ratio is in the hundreds
GOAL: Final = 0.8  # its default: enough images fooled to stop


@pytest.mark.parametrize("name", ["mnist-undefended", "mnist-adversarial"], ids=["undefended", "adversarial"])
def test_universal(benchmark: Any, name: str) -> None:
    """Both learn on the images that they are judged on, as ART's interface has it."""
    module = judging.model_or_skip(name)
    images, labels = judging.pictures_or_skip(models.MNIST, COUNT)
    threat = f"pixels-linf:{BUDGET}@gradient"
    ours = partial(attack, module, images, labels, "universal", threat, fit=(images, labels), batch_size=COUNT)
    theirs = partial(peers.universal, module, images, labels, budget=BUDGET, passes=PASSES, goal=GOAL)
    found = race(benchmark, ours, {"art": theirs}, rounds=ROUNDS)
    clean = judging.predictions(module, images)
    fooled = {
        OURS: fooling(module, clean, found.results[OURS].inputs),
        "art": fooling(module, clean, found.results["art"]),
    }
    setting = f"universal perturbation, linf {BUDGET}, {COUNT} MNIST images, {name[6:]} CNN"
    note(benchmark, found, ("art",), judging.rounded({"fooling rate": fooled}), setting=setting)
    assert fooled[OURS] >= fooled["art"], fooled
    assert float((found.results[OURS].inputs - images).abs().max()) <= BUDGET + 1e-6


def fooling(module: nn.Module, clean: Tensor, disturbed: Tensor) -> float:
    """The share of images that are read otherwise than before."""
    return float((judging.predictions(module, disturbed) != clean).to(torch.float64).mean())
