"""FGSM and BIM agree with foolbox 3.3.4 and torchattacks 3.5.1 (`make peers` installs them and runs this)."""

from __future__ import annotations

import warnings
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from adversarial.attacks.fgsm import fgsm
from adversarial.attacks.pgd import pgd
from adversarial.goals import Flip
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.spaces import pixels
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    foolbox = pytest.importorskip("foolbox", reason="the peers are not installed: make peers")
    torchattacks = pytest.importorskip("torchattacks", reason="the peers are not installed: make peers")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]

STEPS, STEP = 10, 0.02


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * 49, 10),
        ).eval()


def images(interior: bool) -> Tensor:
    """With walls, half of the pixels are exactly 0 or 1, as in MNIST; the interior keeps away from both."""
    values = torch.rand(16, 1, 14, 14, generator=torch.Generator().manual_seed(1))
    return 0.3 + 0.4 * values if interior else (2 * values - 0.5).clamp(0, 1)


def ours(attack: partial[None], norm: str, budget: float, inputs: Tensor) -> Tensor:
    victim = ModuleVictim(network())
    threat = Threat("pixels", norm, budget)  # type: ignore[arg-type]
    space = pixels(Inputs(inputs), threat)
    labels = victim.module(inputs).argmax(1)
    keys = Keys.of(0, [str(row) for row in range(len(inputs))])
    problem = Problem(victim, space, Flip(labels), threat, keys, early_stopping=False)
    last: list[Tensor] = []
    evaluate, submit = problem.evaluate, problem.submit
    # Peers return their last point, ours the best one: the last one is what is compared.
    problem.evaluate = lambda d, loss="ce": last.append(d) or evaluate(d, loss)  # type: ignore
    problem.submit = lambda d: last.append(d) or submit(d)  # type: ignore
    attack(problem)
    return space.apply(last[-1]).values


def from_foolbox(attack: object, budget: float, inputs: Tensor) -> Tensor:
    module = network()
    labels = module(inputs).argmax(1)
    model = foolbox.PyTorchModel(module, bounds=(0, 1), device="cpu")
    _, clipped, _ = attack(model, inputs, labels, epsilons=budget)  # type: ignore[operator]
    return clipped


BIM = partial(pgd, steps=STEPS, random_start=False)


@pytest.mark.parametrize("interior", [True, False], ids=["interior", "walls"])
@pytest.mark.parametrize("budget", [0.03, 0.1])
def test_fgsm_linf(budget: float, interior: bool) -> None:
    inputs = images(interior)
    module = network()
    labels = module(inputs).argmax(1)
    mine = ours(partial(fgsm), "linf", budget, inputs)
    assert float((mine - from_foolbox(foolbox.attacks.LinfFastGradientAttack(), budget, inputs)).abs().max()) < 1e-6
    theirs = torchattacks.FGSM(module, eps=budget)(inputs, labels)
    assert float((mine - theirs).abs().max()) < 1e-6


@pytest.mark.parametrize("interior", [True, False], ids=["interior", "walls"])
@pytest.mark.parametrize("budget", [0.05, 0.1])
def test_bim_linf(budget: float, interior: bool) -> None:
    inputs = images(interior)
    module = network()
    labels = module(inputs).argmax(1)
    mine = ours(partial(BIM, relative_step=STEP / budget), "linf", budget, inputs)
    attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=STEP, steps=STEPS, random_start=False)
    assert float((mine - from_foolbox(attack, budget, inputs)).abs().max()) < 1e-6
    theirs = torchattacks.PGD(module, eps=budget, alpha=STEP, steps=STEPS, random_start=False)(inputs, labels)
    assert float((mine - theirs).abs().max()) < 1e-6


def test_fgsm_l2_away_from_the_walls() -> None:
    """At a wall ours gives the length that a clipped pixel leaves to the others, and the peers lose it."""
    inputs, budget = images(True), 0.8
    mine = ours(partial(fgsm), "l2", budget, inputs)
    assert float((mine - from_foolbox(foolbox.attacks.L2FastGradientAttack(), budget, inputs)).abs().max()) < 1e-6


def test_bim_l2_away_from_the_walls() -> None:
    inputs, budget = images(True), 0.8
    mine = ours(partial(BIM, relative_step=0.15 / budget), "l2", budget, inputs)
    attack = foolbox.attacks.L2BasicIterativeAttack(abs_stepsize=0.15, steps=STEPS, random_start=False)
    assert float((mine - from_foolbox(attack, budget, inputs)).abs().max()) < 1e-6
    module = network()
    labels = module(inputs).argmax(1)
    theirs = torchattacks.PGDL2(module, eps=budget, alpha=0.15, steps=STEPS, random_start=False)(inputs, labels)
    assert float((mine - theirs).abs().max()) < 1e-6


def test_with_walls_ours_raises_the_loss_at_least_as_far() -> None:
    inputs, budget = images(False), 0.8
    module = network()
    labels = module(inputs).argmax(1)
    mine = ours(partial(pgd, steps=40, random_start=False), "l2", budget, inputs)
    attack = foolbox.attacks.L2BasicIterativeAttack(rel_stepsize=2.5 / 40, steps=40, random_start=False)
    loss = [
        nn.functional.cross_entropy(module(found), labels, reduction="none")
        for found in (mine, from_foolbox(attack, budget, inputs))
    ]
    assert float(loss[0].mean()) >= float(loss[1].mean())
