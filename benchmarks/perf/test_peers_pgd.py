"""PGD and FGSM in linf against foolbox, torchattacks and ART, and against the bare passes. `make perf` runs this.

Every library runs at the batch size that was fastest for it in a warm-up, with the same steps from the images
themselves, so that all follow the same path and outcomes compare to the row. Ours lets rows go once they are broken,
which the peers do not; so there is a setting in which most rows survive.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest
from torch import Tensor, nn

from benchmarks.perf import judging, models, peers
from benchmarks.perf.timing import OURS, fastest_size, note, race
from robustarena import AttackResult, attack


pytestmark = [judging.needs_peers, judging.peer_warnings]

SIZES: Final = (50, 200, 1_000)
WARM_UP: Final = 4  # steps
BARE: Final = "bare loop"


def compare_pgd(
    benchmark: Any,
    module: nn.Module,
    images: Tensor,
    labels: Tensor,
    budget: float,
    steps: int,
    sizes: tuple[int, ...],
    setting: str,
    step: float,
) -> dict[str, float]:
    """Races PGD with steps of a share of the budget; the robust accuracies, ours among them."""
    threat = f"pixels-linf:{budget!r}"

    def ours(size: int, steps: int = steps) -> AttackResult:
        options: dict[str, Any] = {"steps": steps, "relative_step": step, "random_start": False}
        return attack(module, images, labels, "pgd", threat, batch_size=size, **options)

    def theirs(name: str, size: int, steps: int = steps) -> Tensor:
        return peers.pgd(name, module, images, labels, budget=budget, step=budget * step, steps=steps, size=size)

    # Which size is fastest shows after a few steps.
    chosen = {OURS: fastest_size(partial(ours, steps=WARM_UP), sizes)}
    chosen |= {name: fastest_size(partial(theirs, name, steps=WARM_UP), sizes) for name in peers.NAMES}
    passes = judging.passes_of(partial(ours, chosen[OURS]))
    others: dict[str, Any] = {name: partial(theirs, name, chosen[name]) for name in peers.NAMES}
    others[BARE] = partial(judging.bare_loop, module, images, labels, passes)
    found = race(benchmark, partial(ours, chosen[OURS]), others)
    result = found.results[OURS]
    assert result.cost.forwards == sum(rows for rows, _ in passes), "the bare loop makes other passes than the attack"
    robust = {OURS: judging.survivors(module, images, labels, result.inputs, budget)}
    robust |= {name: judging.survivors(module, images, labels, found.results[name], budget) for name in peers.NAMES}
    assert robust[OURS] == float((~result.success).float().mean())
    note(
        benchmark,
        found,
        peers.NAMES,
        judging.rounded({"robust accuracy": robust}),
        setting=setting,
        sizes=chosen,
        passes={"forwards": result.cost.forwards, "backwards": result.cost.backwards, "full": len(images) * steps},
    )
    return robust


@pytest.mark.parametrize(
    ("name", "budget", "step"),
    [
        ("mnist-undefended", 0.3, 1 / 4),
        ("mnist-undefended", 0.3, 1 / 16),
        ("mnist-adversarial", 0.3, 1 / 4),
        ("mnist-adversarial", 0.15, 1 / 4),
    ],
    ids=["undefended-0.3", "undefended-0.3-small-steps", "adversarial-0.3", "adversarial-0.15"],
)
def test_pgd_mnist(benchmark: Any, name: str, budget: float, step: float) -> None:
    """Steps of a quarter of the budget are what torchattacks takes by default; small ones break rows later."""
    module = judging.model_or_skip(name)
    images, labels = judging.pictures_or_skip(models.MNIST, 1_000)
    setting = f"PGD-40, linf {budget}, steps {step:.3g}, 1000 MNIST images, {name.removeprefix('mnist-')} CNN"
    robust = compare_pgd(benchmark, module, images, labels, budget, 40, SIZES, setting, step)
    assert all(robust[OURS] <= robust[peer] for peer in peers.NAMES), robust


@pytest.mark.parametrize("budget", [8 / 255, 1 / 255], ids=["8", "1"])
def test_pgd_cifar(benchmark: Any, budget: float) -> None:
    """A ResNet of width 16, trained for a minute; the first 50 images that it reads right."""
    module = judging.model_or_skip("cifar-resnet")
    images, labels = judging.pictures_or_skip(models.CIFAR, 500)
    right = (judging.predictions(module, images) == labels).nonzero().squeeze(1)[:50]
    setting = f"PGD-10, linf {round(255 * budget)}/255, 50 CIFAR-10 images, ResNet of width 16"
    robust = compare_pgd(benchmark, module, images[right], labels[right], budget, 10, (10, 25, 50), setting, 1 / 4)
    assert all(robust[OURS] <= robust[peer] for peer in peers.NAMES), robust


def test_fgsm_mnist(benchmark: Any) -> None:
    """Without a random start all libraries find the same images."""
    module, budget = judging.model_or_skip("mnist-undefended"), 0.1
    images, labels = judging.pictures_or_skip(models.MNIST, 1_000)

    def ours(size: int) -> AttackResult:
        return attack(module, images, labels, "fgsm", f"pixels-linf:{budget!r}", batch_size=size)

    def theirs(name: str, size: int) -> Tensor:
        return peers.fgsm(name, module, images, labels, budget=budget, size=size)

    chosen = {OURS: fastest_size(ours, SIZES)}
    chosen |= {name: fastest_size(partial(theirs, name), SIZES) for name in peers.NAMES}
    found = race(
        benchmark,
        partial(ours, chosen[OURS]),
        {
            **{name: partial(theirs, name, chosen[name]) for name in peers.NAMES},
            BARE: partial(judging.bare_loop, module, images, labels, [(chosen[OURS], True)] * (1_000 // chosen[OURS])),
        },
    )
    robust = {name: judging.survivors(module, images, labels, found.results[name], budget) for name in peers.NAMES}
    robust[OURS] = judging.survivors(module, images, labels, found.results[OURS].inputs, budget)
    setting = f"FGSM, linf {budget}, 1000 MNIST images, undefended CNN"
    note(benchmark, found, peers.NAMES, judging.rounded({"robust accuracy": robust}), setting=setting, sizes=chosen)
    right = judging.predictions(module, images) == labels  # ours leaves an image alone that is read wrong as it is
    for name in peers.NAMES:
        gap = (found.results[name] - found.results[OURS].inputs)[right].abs().flatten(1).amax(1)
        # A gradient within rounding of zero has the sign that its batch gives it.
        assert float((gap > 1e-6).double().mean()) <= 0.01, name
        assert robust[OURS] <= robust[name] + 0.002, robust
