"""What an attack costs above the forwards and backwards it needs. `make perf` runs this; it is no timed test."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from adversarial.attacks.fgsm import fgsm
from adversarial.attacks.pgd import pgd
from adversarial.goals import Flip
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.spaces import pixels
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim
from benchmarks.perf import judging, models
from benchmarks.perf.timing import note, race


STEPS, BATCH = 20, 128


def network() -> nn.Module:
    """A small convolutional network for 28 x 28 images; its logits are scaled down so that no row breaks."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 49, 10),
        )


def bare(module: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int, last: bool) -> None:
    """Only the passes: steps forwards with a backward, and one last forward."""
    d = torch.zeros_like(images)
    for _ in range(steps):
        variable = d.requires_grad_(True)
        losses = nn.functional.cross_entropy(module(images + variable), labels, reduction="none")
        (gradient,) = torch.autograd.grad(losses.sum(), variable)
        d = (d + 0.01 * gradient.sign()).detach()
    if last:
        with torch.no_grad():
            module(images + d)


@pytest.mark.parametrize(
    ("attack", "steps", "last"),
    [(partial(pgd, steps=STEPS), STEPS, True), (fgsm, 1, False)],
    ids=["pgd-20", "fgsm"],
)
def test_overhead(benchmark: Any, attack: Callable[[Problem], None], steps: int, last: bool) -> None:
    """Interleaved, the minimum of five runs each, one thread; the ratio is in the table's extra information."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    victim = ModuleVictim(network())
    images = torch.rand(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    labels = victim.module(images).argmax(1)
    threat = Threat.parse("pixels-linf:0.1@gradient")
    ids = [str(row) for row in range(BATCH)]

    def attacked() -> None:
        space = pixels(Inputs(images), threat)
        attack(Problem(victim, space, Flip(labels), threat, Keys.of(0, ids), early_stopping=False))

    ours: list[float] = []
    floor: list[float] = []
    for _ in range(5):
        for function, times in ((attacked, ours), (partial(bare, victim.module, images, labels, steps, last), floor)):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    benchmark.extra_info["ratio to the bare loop"] = round(min(ours) / min(floor), 3)
    benchmark.pedantic(attacked, rounds=3, iterations=1, warmup_rounds=0)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["mnist-undefended", "mnist-adversarial"])
def test_overhead_of_a_search(benchmark: Any, name: str) -> None:
    """PGD-40 with rows that leave, against nothing but the passes that it asked for, row for row."""
    module = judging.model_or_skip(name)
    images, labels = judging.pictures_or_skip(models.MNIST, 1_000)
    victim, threat = ModuleVictim(module), Threat.parse("pixels-linf:0.3@gradient")
    keys = Keys.of(0, [str(row) for row in range(len(images))])

    def attacked() -> None:
        pgd(Problem(victim, pixels(Inputs(images), threat), Flip(labels), threat, keys, width=200), steps=40)

    bare_loop = partial(judging.bare_loop, module, images, labels, judging.passes_of(attacked))
    found = race(benchmark, attacked, {"bare loop": bare_loop})
    note(benchmark, found, (), {}, setting=f"PGD-40 search alone, linf 0.3, 1000 MNIST images, {name[6:]} CNN")
