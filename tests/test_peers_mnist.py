"""On MNIST and a CNN trained here, ours agree with foolbox 3.3.4 and torchattacks 3.5.1. `make peers` runs this."""

from __future__ import annotations

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
from benchmarks.perf import models, peers
from benchmarks.perf.data import DataMissing, pictures


pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(
        not peers.installed("foolbox", "torchattacks"), reason="the peers are not installed: make peers"
    ),
]

COUNT, STEPS = 100, 10


@pytest.fixture(scope="module", params=["mnist-undefended", "mnist-adversarial"])
def module(request: pytest.FixtureRequest) -> nn.Module:
    try:
        return models.model(request.param)
    except DataMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    try:
        return pictures(models.MNIST, "test", COUNT)
    except DataMissing as error:
        pytest.skip(str(error))


def ours(attack: partial[None], module: nn.Module, images: Tensor, labels: Tensor, budget: float) -> Tensor:
    """The last point that the attack went to, which is what the peers return; ours keeps the best one."""
    threat = Threat("pixels", "linf", budget)
    space = pixels(Inputs(images), threat)
    keys = Keys.of(0, [str(row) for row in range(len(images))])
    problem = Problem(ModuleVictim(module), space, Flip(labels), threat, keys, early_stopping=False)
    last: list[Tensor] = []
    evaluate, submit = problem.evaluate, problem.submit
    problem.evaluate = lambda d, loss="ce": last.append(d) or evaluate(d, loss)  # type: ignore
    problem.submit = lambda d: last.append(d) or submit(d)  # type: ignore
    attack(problem)
    return space.apply(last[-1]).values


def theirs(name: str, kind: str, module: nn.Module, images: Tensor, labels: Tensor, budget: float) -> Tensor:
    """FGSM, or BIM: PGD without a random start."""
    step, library = budget / 4, peers.library(name)
    if name == "torchattacks":
        attack = (
            library.FGSM(module, eps=budget)
            if kind == "fgsm"
            else library.PGD(module, eps=budget, alpha=step, steps=STEPS, random_start=False)
        )
        found: Tensor = attack(images.clone(), labels)
        return found
    attacks = library.attacks
    attack = (
        attacks.LinfFastGradientAttack()
        if kind == "fgsm"
        else attacks.LinfBasicIterativeAttack(abs_stepsize=step, steps=STEPS, random_start=False)
    )
    return peers.from_foolbox(attack, module, images.clone(), labels, budget)


@pytest.mark.parametrize("name", ["foolbox", "torchattacks"])
@pytest.mark.parametrize("budget", [0.1, 0.3])
@pytest.mark.parametrize("kind", ["fgsm", "bim"])
def test_same_images_to_a_millionth(
    kind: str, budget: float, name: str, module: nn.Module, digits: tuple[Tensor, Tensor]
) -> None:
    attack = partial(fgsm) if kind == "fgsm" else partial(pgd, steps=STEPS, relative_step=0.25, random_start=False)
    mine = ours(attack, module, *digits, budget)
    other = theirs(name, kind, module, *digits, budget)
    assert float((mine - digits[0]).abs().max()) == pytest.approx(budget, abs=1e-6)
    assert float((mine - other).abs().max()) < 1e-6


def test_the_models_are_what_they_are_called(digits: tuple[Tensor, Tensor]) -> None:
    """The undefended one falls to PGD, the other one mostly stands: or else agreement would be of nothing."""
    images, labels = digits
    standing = {}
    for name in ("mnist-undefended", "mnist-adversarial"):
        trained = models.model(name)
        assert float((trained(images).argmax(1) == labels).float().mean()) > 0.9
        found = ours(partial(pgd, steps=20, random_start=False), trained, images, labels, 0.2)
        standing[name] = float((trained(found).argmax(1) == labels).float().mean())
    assert standing["mnist-undefended"] < 0.2 < 0.6 < standing["mnist-adversarial"], standing
    assert torch.equal(models.model("mnist-undefended")(images), models.model("mnist-undefended")(images))
