"""On MNIST and CNNs trained here, ours agree with foolbox 3.3.4, torchattacks 3.5.1 and ART 1.20.1 (`make peers`)."""

from __future__ import annotations

from functools import partial
from typing import Any

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
from robustarena import attack


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


def ours(run: partial[None], module: nn.Module, images: Tensor, labels: Tensor, budget: float) -> Tensor:
    """The last point that the attack went to, which is what the peers return; ours keeps the best one."""
    threat = Threat("pixels", "linf", budget)
    space = pixels(Inputs(images), threat)
    keys = Keys.of(0, [str(row) for row in range(len(images))])
    problem = Problem(ModuleVictim(module), space, Flip(labels), threat, keys, early_stopping=False)
    last: list[Tensor] = []
    evaluate, submit = problem.evaluate, problem.submit
    problem.evaluate = lambda d, loss="ce": last.append(d) or evaluate(d, loss)  # type: ignore
    problem.submit = lambda d: last.append(d) or submit(d)  # type: ignore
    run(problem)
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


NEAREST = 40  # images, for the attacks that take many steps
# How far below a library's mean norm ours may be. The C&W of torchattacks leaves pixels at 0 and 1 alone, and both it
# and the one of ART give up on many images that ours and foolbox's break.
LOWEST = {
    ("deepfool", "foolbox"): 0.95,
    ("deepfool", "torchattacks"): 0.9,
    ("deepfool", "art"): 0.93,
    ("cw", "foolbox"): 0.88,
    ("cw", "torchattacks"): 0.65,
    ("cw", "art"): 0.5,
}
STEPS_OF_CW = {"binary_steps": 5, "steps": 100, "learning_rate": 0.1, "initial_const": 1.0}


def nearest_of(name: str, kind: str, module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The nearest wrong answers in l2 that a library finds, with the same steps and constants as ours."""
    library = peers.library(name)
    if name == "foolbox" and kind == "deepfool":
        return peers.deepfool(module, images, labels, steps=50, overshoot=0.02, size=NEAREST)
    if name == "foolbox":
        return peers.carlini_wagner(
            module, images, labels, binary_steps=5, steps=100, rate=0.1, initial=1.0, size=NEAREST
        )
    if name == "torchattacks":  # its C&W searches for no constant: it gets ours
        attack = (
            library.DeepFool(module, steps=50, overshoot=0.02)
            if kind == "deepfool"
            else library.CW(module, c=1.0, steps=500, lr=0.1)
        )
        found: Tensor = attack(images.clone(), labels)
        return found.detach()
    evasion, model = peers.library("art.attacks.evasion"), peers.classifier(module, tuple(images.shape[1:]))
    if kind == "deepfool":
        theirs = evasion.DeepFool(model, max_iter=50, epsilon=0.02, nb_grads=10, batch_size=NEAREST, verbose=False)
    else:
        theirs = evasion.CarliniL2Method(
            model,
            learning_rate=0.1,
            binary_search_steps=5,
            max_iter=100,
            initial_const=1.0,
            batch_size=NEAREST,
            verbose=False,
        )
    return peers.from_art(theirs, images, labels)


@pytest.mark.parametrize("name", ["foolbox", "torchattacks", "art"])
@pytest.mark.parametrize(("kind", "options"), [("deepfool", {}), ("cw", STEPS_OF_CW)])
def test_the_nearest_wrong_answers_are_as_many_and_as_near(
    kind: str, options: dict[str, Any], name: str, module: nn.Module, digits: tuple[Tensor, Tensor]
) -> None:
    """Success and mean norm count together: either alone is improved by spoiling the other."""
    if not peers.installed(name):
        pytest.skip(peers.ABSENT)
    images, labels = (part[:NEAREST] for part in digits)
    images, labels = (part[module(images).argmax(1) == labels] for part in (images, labels))
    mine = attack(module, images, labels, kind, "pixels-l2:inf", **options).inputs
    other = nearest_of(name, kind, module, images, labels)
    wrong, theirs_wrong = (module(found).argmax(1) != labels for found in (mine, other))
    assert bool(wrong.all())
    assert int(theirs_wrong.sum()) >= 3
    norms = [(found - images).flatten(1).norm(dim=1)[theirs_wrong] for found in (mine, other)]
    share = float(norms[0].mean() / norms[1].mean())
    assert LOWEST[kind, name] < share < 1.01, (share, float(theirs_wrong.float().mean()))
