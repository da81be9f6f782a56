"""Bugs found by reading other attack libraries, and that they are not here.

What other files show already:
  a pickled state that no run resumes from          test_runner, test_determinism
  draws that go by the place in the batch           test_attacks_contract (alone, in threes, reversed; the same bytes)
  C&W: pixels at 0 and 1, all-negative logits       test_minimum_norm (features_at_both_walls; shifts of the scores)
  C&W: an abort that the batch decides              test_minimum_norm (rows_go_at_their_own_pace, neighbours)
  C&W: no search for the constant                   test_minimum_norm (the_search_for_the_constant)
  JSMA: the next label as target, d^2 memory        test_jsma (the_runner_up_is_it, memory_does_not_grow)
  JSMA: the others' half of the saliency            test_jsma (the_other_classes_count, the_one_of_the_paper)
  a crashed cell that scores as a weak attack       test_runner (a_failing_cell), test_scores (what_is_missing)
  a metric's direction that the worst case ignores  test_scores
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import test_attacks_contract as contract
import torch
from torch import Tensor, nn

from adversarial.attacks import ENTRIES
from adversarial.attacks.apgd import apgd
from adversarial.attacks.pgd import pgd
from adversarial.entries import AttackEntry
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.losses import class_loss
from adversarial.problem import Problem
from adversarial.spaces import pixels
from adversarial.threats import BUILT_IN, Threat
from robustarena import AttackResult, attack, evaluate


ROWS, FEATURES, CLASSES = 20, 36, 4
BROKEN, FLAT = 4, 9  # rows of images that `marked` gives
PIXEL_ATTACKS = [entry.name for entry in ENTRIES if not entry.lacks(BUILT_IN["pixels"].offers) and entry.name != "none"]
CHANCE = ("noise", "pgd", "apgd-ce", "apgd-dlr", "apgd-t")  # tensors have no names: draws go by the place among all
SHORT: dict[str, dict[str, Any]] = {
    "cw": {"binary_steps": 3, "steps": 20, "initial_const": 1.0, "learning_rate": 0.02},
    "pgd": {"steps": 6, "restarts": 3},
    "universal": {"epochs": 2},
    **{name: {"steps": 8, "restarts": 2} for name in ("apgd-ce", "apgd-dlr", "apgd-t")},
}


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Network(nn.Module):
    """Two layers made of elementwise products and sums over a row: no kernel that could round a row by its company.

    The first pixel counts for nothing, but where `marked`: above 0.8 the scores are no numbers, from 0.4 on constant.
    """

    def __init__(self, classes: int = CLASSES, seed: int = 1, marked: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.marked = draw(seed, 16, FEATURES), draw(seed + 1, classes, 16), marked
        self.first[:, 0] = 0

    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1)
        hidden = ((flat - 0.5)[:, None] * self.first).sum(2).relu()
        scores: Tensor = (hidden[:, None] * self.second).sum(2)
        if not self.marked:
            return scores
        flag = flat[:, :1]
        return torch.where(flag > 0.8, torch.nan, torch.where(flag > 0.4, torch.zeros_like(scores), scores))


def images(seed: int = 3) -> Tensor:
    values = draw(seed, ROWS, 1, 6, 6).mul(0.2).add(0.5).clamp(0, 1)
    values[:, 0, 0, 0] = 0.2
    return values


def run(name: str, values: Tensor, labels: Tensor, module: nn.Module | None = None, **options: Any) -> AttackResult:
    """An attack with few steps, with what it needs besides."""
    module = Network() if module is None else module
    if name == "transfer":
        options["surrogates"] = (Network(seed=1), Network(seed=7))
    if name == "universal":
        others = Network()(images(5)).argmax(1)
        wanted = () if options.get("targets") is None else ((others + 1) % CLASSES,)
        options["fit"] = (images(5), others, *wanted)
    threat = "pixels-l0:6" if name == "jsma" else "pixels-linf:0.05"
    return attack(module, values, labels, name, options.pop("threat", threat), **SHORT.get(name, {}), **options)


def same(one: AttackResult, other: AttackResult, rows: Tensor | None = None) -> bool:
    """Whether the second, of these rows of the first, is the same to the last bit."""
    chosen = torch.arange(len(one.success)) if rows is None else rows
    return torch.equal(one.inputs[chosen], other.inputs) and torch.equal(one.success[chosen], other.success)


@pytest.mark.parametrize("name", PIXEL_ATTACKS)
def test_neither_the_size_of_batches_nor_the_clock_decides(name: str) -> None:
    """Square's one window for a whole batch, and its default seed."""
    values = images()
    labels = Network()(values).argmax(1)
    whole = run(name, values, labels)
    assert same(whole, run(name, values, labels))
    # What is learned is learned on mini-batches: their size is an option like the number of epochs.
    for size in () if name == "universal" else (32, 8, 3, 1):
        assert same(whole, run(name, values, labels, batch_size=size)), size
    assert name in ("noise", "transfer", "universal") or int(whole.success.sum()) > 0
    assert bool((whole.distances > 0).any())


@pytest.mark.parametrize("name", [name for name in PIXEL_ATTACKS if name not in CHANCE])
def test_the_order_of_rows_does_not_decide(name: str) -> None:
    values = images()
    labels = Network()(values).argmax(1)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(4))
    assert same(run(name, values, labels), run(name, values[order], labels[order], batch_size=64), order)


@pytest.mark.parametrize("name", PIXEL_ATTACKS)
@pytest.mark.parametrize("targeted", [False, True])
def test_what_is_called_a_success_is_one_when_it_is_asked_again(name: str, targeted: bool) -> None:
    """Of the inputs that are returned, in one pass; and all of them are inside the budget."""
    if targeted and name == "apgd-t":
        pytest.skip("leads to each wrong class, so no target can be given")
    module, values = Network(), images()
    labels = module(values).argmax(1)
    targets = (labels + 1) % CLASSES if targeted else None
    found = run(name, values, labels, targets=targets, batch_size=7)
    decisions = module(found.inputs).argmax(1)
    assert torch.equal(decisions != labels if targets is None else decisions == targets, found.success)
    changed = (found.inputs - values).double().flatten(1)
    within = (changed != 0).sum(1) <= 6 if name == "jsma" else changed.abs().amax(1) <= 0.05 + 1e-6
    assert bool(within.all())
    assert float(found.inputs.min()) >= 0
    assert float(found.inputs.max()) <= 1


@pytest.mark.parametrize(("entry", "surface"), contract.PAIRS, ids=contract.name)
def test_no_global_generator_decides_or_moves(entry: AttackEntry, surface: str) -> None:
    """HopSkipJump, Boundary and Brendel & Bethge with a generator that no seed reaches."""
    found = []
    with torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            before = torch.random.get_rng_state(), str(np.random.get_state()), random.getstate()
            attacked, _ = contract.problem(entry, surface)
            contract.run(entry, attacked, surface)
            found.append(attacked.best.d)
            assert torch.equal(before[0], torch.random.get_rng_state())
            assert before[1:] == (str(np.random.get_state()), random.getstate())
    assert torch.equal(*found)


class Pit:
    """Breaks only inside a small pit that few random starts fall into: a later start must not bury an earlier find."""

    differentiable = True

    def __call__(self, inputs: Inputs) -> Scores:
        place = (inputs.values - 0.5).flatten(1)[:, :2]
        inside = ((place - torch.tensor([0.03, -0.04])).abs() < 0.025).all(1)
        margin = torch.where(inside, 1.0, -1.0) + 1e-3 * (40 * place).sin().sum(1)
        return Scores(torch.stack([-margin, margin], 1))


@pytest.mark.parametrize("function", [pgd, apgd])
def test_a_later_restart_never_overwrites_an_earlier_find(function: Callable[..., None]) -> None:
    threat = Threat("pixels", "linf", 0.1)
    found = []
    for restarts in (1, 2, 5, 12, 40):
        space = pixels(Inputs(torch.full((ROWS, 1, 2, 2), 0.5)), threat)
        keys = Keys.of(0, [str(row) for row in range(ROWS)])
        goal = Flip(torch.zeros(ROWS, dtype=torch.int64))
        problem = Problem(Pit(), space, goal, threat, keys, early_stopping=False)
        function(problem, steps=2, restarts=restarts)
        scores = Pit()(space.apply(problem.best.d))
        assert torch.equal(goal.judge(scores).success, problem.best.success)
        found.append(scores.values[:, 1])
    for fewer, more in itertools.pairwise(found):
        assert bool((more >= fewer).all())
    assert int((found[0] > 0).sum()) < int((found[-1] > 0).sum())


def test_a_model_that_crashes_gives_no_number() -> None:
    class Crashing(nn.Module):
        calls = 0

        def forward(self, values: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 5:
                raise RuntimeError("out of memory")
            return Network()(values)

    labels = Network()(images()).argmax(1)
    for measured in (attack, evaluate):
        with pytest.raises(RuntimeError, match="out of memory"):
            measured(Crashing(), images(), labels, threat="pixels-linf:0.001")


def scores_in_any_order(classes: int) -> Tensor:
    return torch.tensor(list(itertools.permutations([3.0, 1.9, 1.1, -0.4][:classes])))


FEW = [(classes, targeted) for classes in (2, 3, 4) for targeted in (False, True)]


@pytest.mark.parametrize(("classes", "targeted"), FEW)
def test_the_difference_of_logits_rises_with_the_class_it_leads_to(classes: int, targeted: bool) -> None:
    """With two classes or three it was undefined, or constant where the class that it leads to comes third."""
    scores = scores_in_any_order(classes).requires_grad_(True)
    labels = torch.zeros(len(scores), dtype=torch.int64)
    other = scores[:, 1:].argmax(1) + 1
    for towards in range(1, classes) if targeted else [None]:
        goal = Flip(labels, None if towards is None else labels + towards)
        losses = goal.loss(Scores(scores), "dlr")
        (slope,) = torch.autograd.grad(losses.sum(), scores)
        rising = slope.gather(1, (other if towards is None else labels + towards)[:, None]).squeeze(1) > 0
        assert bool(torch.isfinite(losses).all())
        assert bool((slope.abs().amax(1) > 0.01).all())
        assert bool((rising | goal.judge(Scores(scores)).success).all())


@pytest.mark.parametrize(("classes", "targeted"), FEW)
def test_apgd_on_the_difference_of_logits_breaks_linear_models_of_few_classes(classes: int, targeted: bool) -> None:
    weights, values = draw(8, classes, FEATURES), images()

    class Linear(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return ((values.flatten(1) - 0.5)[:, None] * weights).sum(2)

    labels = Linear()(values).argmax(1)
    for step in range(1, classes) if targeted else [0]:
        targets = (labels + step) % classes if targeted else None
        found = attack(Linear(), values, labels, "apgd-dlr", "pixels-linf:0.25", targets=targets, steps=30)
        assert bool(found.success.all())


@pytest.mark.parametrize("name", ["apgd-dlr", "apgd-t"])
def test_a_label_that_comes_third_is_a_success_and_still_has_a_slope(name: str) -> None:
    """As published, the ratio is 1 there, whatever the logits."""
    values = images()
    logits = Network()(values).requires_grad_(True)
    third = logits.argsort(dim=1, descending=True)[:, 2]
    losses = class_loss("dlr")(logits, third, None)
    (slope,) = torch.autograd.grad(losses.sum(), logits)
    assert bool((losses > 1).all())
    assert bool((slope.gather(1, third[:, None]) < 0).all())
    assert bool(run(name, values, third, threat="pixels-linf:0.001").success.all())


@pytest.mark.parametrize(("norm", "size"), [("linf", 0.1), ("l2", 0.1 * 2**0.5), ("l1", 0.2)])
@pytest.mark.parametrize("name", ["pgd", "apgd-ce"])
def test_a_row_at_the_edge_of_its_budget_counts(name: str, norm: str, size: float) -> None:
    """x + 0.1 - x is above 0.1 for many x: a plain comparison would lose these successes."""
    values = torch.rand(64, 1, 1, 1, generator=torch.Generator().manual_seed(2)).mul(0.8).add(0.1).expand(64, 1, 1, 2)
    rounded_up = (values + 0.1).double() - values.double() > 0.1

    class Edge(nn.Module):
        """Breaks a hair before both pixels have moved by 0.1."""

        def forward(self, values: Tensor) -> Tensor:
            margin = values[..., 0] - values[..., 1]
            return torch.cat([torch.zeros_like(margin[:, 0]), margin[:, 0] - 0.2 * (1 - 1e-4)], 1)

    options: dict[str, Any] = {"pgd": {"random_start": False, "steps": 60}}
    labels = torch.zeros(64, dtype=torch.int64)
    found = attack(Edge(), values, labels, name, f"pixels-{norm}:{size!r}", **options.get(name, {}))
    assert int(rounded_up.sum()) > 10
    assert bool(found.success.all())


@pytest.mark.parametrize("name", PIXEL_ATTACKS)
def test_rows_on_which_an_attack_cannot_start_leave_the_others_alone(name: str) -> None:
    """HopSkipJump gave up the whole batch. One row's scores are no numbers, another's have no slope anywhere."""
    values = images()
    labels = Network()(values).argmax(1)
    plain = run(name, values, labels)
    values[BROKEN, 0, 0, 0], values[FLAT, 0, 0, 0] = 1.0, 0.6
    labels[FLAT] = 0
    found = run(name, values, labels, Network(marked=True))
    others = torch.tensor([row for row in range(ROWS) if row not in (BROKEN, FLAT)])
    assert not bool(found.success[[BROKEN, FLAT]].any())
    assert bool(torch.isfinite(found.inputs).all())
    assert torch.equal(found.inputs[others], plain.inputs[others])
    assert torch.equal(found.success[others], plain.success[others])
    assert any("finite" in text for text in found.diagnostics), found.diagnostics
