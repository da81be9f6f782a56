"""Bugs found by reading other attack libraries, and that they are not here.

Elsewhere: features at 0 and 1 that cannot move, all-negative logits, an abort that the batch decides
(test_minimum_norm); JSMA's default target, its memory, its other half of the saliency (test_jsma); a crash that counts
as a weak attack (test_runner); draws that depend on the batch (test_attacks_contract, test_determinism); a worst case
that ignores the metric's direction (test_scores). The difference of logits has no slope where the label comes third, as
published; such a row is a success already.
"""

from __future__ import annotations

import itertools
import random
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adversarial.attacks.apgd import apgd
from adversarial.attacks.carlini_wagner import carlini_wagner
from adversarial.attacks.pgd import pgd
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.losses import class_loss
from adversarial.problem import Problem
from adversarial.spaces import pixels
from adversarial.threats import Threat
from benchmarks import attack, evaluate


PIXEL_ATTACKS = (
    "noise", "fgsm", "bim", "mi-fgsm", "pgd", "apgd-ce", "apgd-dlr", "apgd-t", "deepfool", "cw"
)  # fmt: skip
SHORT = {
    "cw": {"binary_steps": 2, "steps": 20, "initial_const": 1.0},
    "pgd": {"steps": 6, "restarts": 2},
    **{name: {"steps": 8} for name in ("apgd-ce", "apgd-dlr", "apgd-t")},
}
ROWS, CLASSES = 24, 4


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def network(classes: int = CLASSES) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, classes)).double().float()


def data(module: nn.Module) -> tuple[Tensor, Tensor]:
    images = draw(2, ROWS, 1, 6, 6).mul(0.2).add(0.5).clamp(0, 1)
    return images, module(images).argmax(1)


@pytest.mark.parametrize("name", PIXEL_ATTACKS)
def test_neither_the_size_of_batches_nor_their_order_decides(name: str) -> None:
    """Square's windows, and what else is drawn once a batch."""
    module = network()
    images, labels = data(module)
    run = partial(attack, module, attack=name, threat="pixels-linf:0.05", **SHORT.get(name, {}))
    whole = run(inputs=images, labels=labels, batch_size=64)
    for size in (7, 3):
        part = run(inputs=images, labels=labels, batch_size=size)
        assert torch.equal(part.success, whole.success)
        assert torch.allclose(part.inputs, whole.inputs, atol=1e-4)


@pytest.mark.parametrize("name", PIXEL_ATTACKS)
def test_what_is_called_a_success_is_one_when_it_is_asked_again(name: str) -> None:
    module = network()
    images, labels = data(module)
    found = attack(module, images, labels, name, "pixels-linf:0.05", batch_size=5, **SHORT.get(name, {}))
    assert torch.equal(module(found.inputs).argmax(1) != labels, found.success)
    assert bool((found.distances <= 0.05 + 1e-6).all())
    assert float(found.inputs.min()) >= 0
    assert float(found.inputs.max()) <= 1


@pytest.mark.parametrize("name", PIXEL_ATTACKS)
def test_no_global_generator_and_no_clock_decides(name: str) -> None:
    module = network()
    images, labels = data(module)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        before = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # type: ignore[index]
        found.append(attack(module, images, labels, name, "pixels-linf:0.05", **SHORT.get(name, {})).inputs)
        assert torch.equal(before[0], torch.random.get_rng_state())
        assert before[1] == np.random.get_state()[1].tolist()  # type: ignore[index]
        assert before[2] == random.getstate()
    assert torch.equal(*found)


class Pit:
    """Breaks only inside a small pit that few random starts fall into: a later start must not bury an earlier find."""

    differentiable = True

    def __call__(self, inputs: Inputs) -> Scores:
        place = (inputs.values - 0.5).flatten(1)[:, :2]
        inside = ((place - torch.tensor([0.03, -0.04])).abs() < 0.025).all(1)
        margin = torch.where(inside, 1.0, -1.0) + 1e-3 * place.sum(1)
        return Scores(torch.stack([-margin, margin], 1))


@pytest.mark.parametrize("run", [pgd, apgd])
def test_a_later_restart_never_overwrites_an_earlier_find(run: object) -> None:
    threat = Threat("pixels", "linf", 0.1)
    found = []
    for restarts in (1, 2, 5, 12, 40):
        space = pixels(Inputs(torch.full((ROWS, 1, 2, 2), 0.5)), threat)
        keys = Keys.of(0, [str(row) for row in range(ROWS)])
        goal = Flip(torch.zeros(ROWS, dtype=torch.int64))
        problem = Problem(Pit(), space, goal, threat, keys, early_stopping=False)
        run(problem, steps=2, restarts=restarts)  # type: ignore[operator]
        found.append(problem.best.success.clone())
    for fewer, more in itertools.pairwise(found):
        assert bool((more | ~fewer).all())
    assert int(found[0].sum()) < int(found[-1].sum())


@pytest.mark.parametrize("constant", [1e-4, 1.0, 1e4])
def test_carlini_wagner_finds_its_constant_row_by_row(constant: float) -> None:
    module = network()
    images, labels = data(module)
    found = attack(
        module,
        images,
        labels,
        "cw",
        "pixels-l2:inf",
        initial_const=constant,
        steps=60,
        learning_rate=0.02,
        binary_steps=20,
    )
    best = attack(module, images, labels, "cw", "pixels-l2:inf", initial_const=1.0, steps=100, learning_rate=0.02)
    assert bool(found.success.all())
    assert float((found.distances / best.distances).max()) < 1.2
    assert carlini_wagner.__kwdefaults__["binary_steps"] > 1


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("targeted", [False, True])
def test_the_difference_of_logits_needs_no_four_classes(classes: int, targeted: bool) -> None:
    module = network(classes)
    images, labels = data(module)
    targets = (labels + 1) % classes if targeted else None
    found = attack(module, images, labels, "apgd-dlr", "pixels-linf:0.3", targets=targets, steps=20)
    plain = attack(module, images, labels, "pgd", "pixels-linf:0.3", targets=targets, steps=20, loss="margin")
    assert float(found.success.float().mean()) >= max(0.2, float(plain.success.float().mean()) - 0.1)
    losses = class_loss("dlr")(module(images), labels, targets)
    assert bool(torch.isfinite(losses).all())


def test_a_row_exactly_at_the_edge_of_its_budget_counts() -> None:
    class Edge(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            margin = (images.flatten(1)[:, 0] - 0.5) - 0.1 * (1 - 1e-5)
            return torch.stack([-margin, margin], 1)

    images = torch.full((3, 1, 2, 2), 0.5)
    for threat in ("pixels-linf:0.1", "pixels-l2:0.1", "pixels-l1:0.1"):
        found = attack(Edge(), images, torch.zeros(3, dtype=torch.int64), "pgd", threat, steps=30, random_start=False)
        assert bool(found.success.all()), threat


def test_scores_that_are_no_numbers_are_no_success_and_leave_the_others_alone() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, images: Tensor) -> Tensor:
            scores: Tensor = self.inner(images)
            return torch.where(images[:, :, 0, 0] > 0.9, torch.nan, scores)

    module = network()
    images, labels = data(module)
    images[:, 0, 0, 0] = 0.2
    images[4, 0, 0, 0] = 1.0
    plain = attack(module, images, labels, "pgd", "pixels-linf:0.05", steps=6)
    found = attack(Broken(), images, labels, "pgd", "pixels-linf:0.05", steps=6)
    others = [row for row in range(ROWS) if row != 4]
    assert not bool(found.success[4])
    assert torch.equal(found.success[others], plain.success[others])
    assert any("finite" in text or "broken" in text for text in found.diagnostics), found.diagnostics
    assert evaluate(Broken(), images, labels, ("pgd",), "pixels-linf:0.05").clean < 1
