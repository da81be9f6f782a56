"""Each diagnostic fires where it should, and is silent on an honest model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import tasks
from adversarial.attacks.fgsm import fgsm
from adversarial.attacks.noise import noise
from adversarial.attacks.pgd import pgd
from adversarial.best import Best
from adversarial.diagnostics import Trace
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim, Victim
from tasks.control.task import make
from tasks.measuring.arrays import ArrayTask
from tasks.measuring.protocol import Trial
from tasks.measuring.static import measure_static
from tasks.speech.task import SpeechDigits


PGD = partial(pgd, steps=4)


def honest() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(100, 3))


IMAGES = torch.rand(12, 1, 5, 5, generator=torch.Generator().manual_seed(1))


def names(victim: Victim | nn.Module, attack: Callable[[Problem], None] | None, budget: float = 0.01) -> set[str]:
    """What fires for a victim that is right everywhere before the attack."""
    victim = ModuleVictim(victim) if isinstance(victim, nn.Module) else victim
    labels = victim(Inputs(IMAGES)).values.argmax(1)
    threat = Threat("pixels", "linf", budget)
    if attack is not None and getattr(attack, "func", attack) is noise:
        threat = threat.with_access("none")
    trial = Trial(None if attack is None else threat, attack, batch_size=5)
    measured = measure_static(ArrayTask(Inputs(IMAGES), labels), victim, trial, Ledger())
    return {finding.name for finding in measured.findings}


class Wrapped:
    """An honest network with something done to its answers."""

    differentiable = True

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.module, self.change = honest().eval().requires_grad_(False), change

    def __call__(self, inputs: Inputs) -> Scores:
        return Scores(self.change(self.module(inputs.values), inputs.values))


@pytest.mark.parametrize("attack", [None, fgsm, PGD, noise], ids=["none", "fgsm", "pgd", "noise"])
def test_an_honest_model_is_silent(attack: Callable[[Problem], None] | None) -> None:
    assert names(honest(), attack) == set()


@pytest.mark.parametrize("attack", [fgsm, PGD])
def test_zero_gradients(attack: Callable[[Problem], None]) -> None:
    staircase = Wrapped(lambda logits, images: logits + 0 * images.sum() + (images.round() * 0).sum())
    staircase.change = lambda logits, images: (logits * 50).detach() + 0 * images.flatten(1).sum(1, keepdim=True)
    assert "zero-gradients" in names(staircase, attack)


def test_saturated_logits_vanish() -> None:
    assert "zero-gradients" in names(Wrapped(lambda logits, _: logits * 1e6), PGD)


def test_non_finite_gradients() -> None:
    root = Wrapped(lambda logits, images: logits + (images.flatten(1).sum(1, keepdim=True) * 0).sqrt())
    assert "non-finite-gradients" in names(root, PGD)


def test_non_finite_scores() -> None:
    assert "non-finite-scores" in names(Wrapped(lambda logits, _: logits * torch.nan), None)
    assert "non-finite-scores" in names(Wrapped(lambda logits, _: logits + torch.inf), PGD)


def test_a_batch_that_mixes_its_rows() -> None:
    mixed = Wrapped(lambda logits, _: logits - logits.mean(0, keepdim=True))
    assert "batched-not-single" in names(mixed, None)

    class Training:
        differentiable = True
        module = nn.Sequential(honest(), nn.BatchNorm1d(3, track_running_stats=False)).requires_grad_(False)

        def __call__(self, inputs: Inputs) -> Scores:
            values = inputs.values if len(inputs.values) > 1 else inputs.values.expand(2, -1, -1, -1)
            return Scores(self.module(values)[: len(inputs.values)])

    assert "batched-not-single" in names(Training(), None)


@pytest.mark.parametrize("size", [1.0, 1e-6, 1e6])
def test_two_passes_that_differ(size: float) -> None:
    """In shares of the scores' own size: logits may be of any."""
    draws = torch.Generator().manual_seed(3)
    noisy = Wrapped(lambda scores, _: size * (scores + 1e-2 * torch.randn(scores.shape, generator=draws)))
    assert "not-deterministic" in names(noisy, None)
    assert names(Wrapped(lambda scores, _: size * scores), None) == set()


@pytest.mark.parametrize(
    "shown",
    [
        lambda scores, _: scores if torch.is_grad_enabled() else scores.flip(1),
        lambda scores, values: scores.flip(1) if values.requires_grad else scores,
        lambda scores, values: scores.flip(1) if torch.is_grad_enabled() and len(values) > 1 else scores,
    ],
)
def test_answers_that_depend_on_whether_gradients_are_followed(shown: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert "depends-on-gradients" in names(Wrapped(shown), None)


def test_agents_are_looked_at_too() -> None:
    class Fickle(nn.Module):
        def forward(self, seen: Tensor) -> Tensor:
            lean = seen @ torch.tensor([0.3, 0.6, 1.0, 1.2])
            logits = torch.stack([-lean, lean], 1)
            return -logits if torch.is_grad_enabled() else logits

    measured = make().measure(ModuleVictim(Fickle()), Trial(None, None, limit=2), Ledger())
    assert {finding.name for finding in measured.findings} == {"depends-on-gradients"}


def test_a_class_that_is_never_decided_is_no_difference() -> None:
    closed = torch.tensor([0.0, 0.0, -torch.inf])
    assert names(Wrapped(lambda scores, _: scores + closed), None) == set()


def test_a_loss_that_never_rises() -> None:
    class Backwards(torch.autograd.Function):
        """A defense that turns its gradients around."""

        @staticmethod
        def forward(ctx: object, values: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG004
            return values.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:  # type: ignore[override]  # noqa: ARG004
            return -gradient

    class Turned(Wrapped):
        def __call__(self, inputs: Inputs) -> Scores:
            return Scores(self.module(Backwards.apply(inputs.values)))  # type: ignore[no-untyped-call]

    turned = Turned(lambda logits, _: logits)
    assert "loss-not-rising" in names(turned, partial(pgd, steps=4, random_start=False))


def test_an_attack_that_does_nothing() -> None:
    def idle(problem: Problem) -> None:
        problem.submit(problem.space.null())

    assert "zero-perturbation" in names(honest(), idle)
    assert "zero-perturbation" not in names(honest(), idle, budget=0.0)


def test_rows_that_are_wrong_before_the_attack_are_no_evidence_against_it() -> None:
    victim = ModuleVictim(honest())
    labels = victim(Inputs(IMAGES)).values.argmin(1)
    trial = Trial(Threat("pixels", "linf", 0.01), partial(pgd, steps=4, random_start=False), batch_size=5)
    measured = measure_static(ArrayTask(Inputs(IMAGES), labels), victim, trial, Ledger())
    assert measured.examples.distances == (0.0,) * 12
    assert measured.findings == ()


def test_a_row_that_fell_late_counts_and_one_that_fell_at_once_does_not() -> None:
    best = Best.start(torch.zeros(4, 1))
    best.done = torch.tensor([True, True, False, False])
    best.success = best.done
    best.asked_at_success = torch.tensor([1, 2, -1, -1])
    best.gradients = torch.tensor([1, 2, 3, 0])
    best.zero_gradients = torch.tensor([1, 2, 2, 0])
    best.first_loss, best.top_loss = torch.zeros(4), torch.tensor([0.0, 0.0, 0.0, 0.0])
    trace = Trace()
    trace.add_search(best, torch.tensor([0.0, 0.5, 0.0, 0.5], dtype=torch.float64))
    assert (trace.rows, trace.with_gradients, trace.all_zero_gradients) == (3, 2, 1)
    assert (trace.searched, trace.flat_losses, trace.unmoved) == (2, 1, 1)


def test_a_success_that_one_step_gives_up_is_no_contradiction() -> None:
    """fgsm sees its gradient where a word is wrong already, and submits another point, where none may be."""
    task = SpeechDigits()
    folder = Path(tasks.__file__).parent / "speech" / "models" / "adversarial-training"
    victim = task.load_victim(folder, torch.device("cpu"))
    trial = Trial(Threat("waveform", "snr", 28), fgsm, "worst", batch_size=32)
    assert task.measure(victim, trial, Ledger()).findings == ()
