"""DeepFool, C&W and JSMA against foolbox, torchattacks and ART: the nearest wrong answers. `make perf` runs this.

Faster counts only where success is no rarer and the mean norm no larger, so both are asserted for each comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import pytest
import torch
from torch import Tensor, nn

from benchmarks.catalog import catalog
from benchmarks.perf import judging, models, peers
from benchmarks.perf.timing import OURS, fastest_size, note, race
from robustarena import AttackResult, attack


pytestmark = [judging.needs_peers, judging.peer_warnings]

COUNT: Final = 200
ROUNDING: Final = 1e-4  # share of a mean norm that summation order may change


def digits(name: str, count: int) -> tuple[nn.Module, Tensor, Tensor]:
    return judging.model_or_skip(name), *judging.pictures_or_skip(models.MNIST, count)


def skip_unless_registered(name: str) -> None:
    if name not in {entry.name for entry in catalog().attacks()}:
        pytest.skip(f"{name} is not in the registry yet")


def compare(
    benchmark: Any,
    ours: Callable[[int], AttackResult],
    theirs: Mapping[str, Callable[[int], Tensor]],
    sizes: tuple[int, ...],
    judge: Callable[[Tensor], dict[str, float]],
    setting: str,
) -> dict[str, dict[str, float]]:
    """Races ours at its fastest batch size against others at theirs; what each found, judged alike."""
    chosen = {OURS: fastest_size(ours, sizes)}
    chosen |= {name: fastest_size(function, sizes) for name, function in theirs.items()}
    others = {name: partial(function, chosen[name]) for name, function in theirs.items()}
    found = race(benchmark, partial(ours, chosen[OURS]), others)
    facts = {OURS: judge(found.results[OURS].inputs)}
    facts |= {name: judge(found.results[name]) for name in theirs}
    note(benchmark, found, theirs, judging.rounded({"found": facts}), setting=setting, sizes=chosen)
    return facts


def assert_not_worse(facts: Mapping[str, Mapping[str, float]], name: str) -> None:
    assert facts[OURS]["success"] >= facts[name]["success"], facts
    assert facts[OURS]["mean norm"] <= facts[name]["mean norm"] * (1 + ROUNDING), facts


@pytest.mark.parametrize("name", ["mnist-undefended", "mnist-adversarial"], ids=["undefended", "adversarial"])
def test_deepfool(benchmark: Any, name: str) -> None:
    skip_unless_registered("deepfool")
    module, images, labels = digits(name, COUNT)
    run = partial(attack, module, images, labels, "deepfool", "pixels-l2:inf@gradient", steps=50, overshoot=0.02)
    facts = compare(
        benchmark,
        lambda size: run(batch_size=size),
        {"foolbox": lambda size: peers.deepfool(module, images, labels, steps=50, overshoot=0.02, size=size)},
        (50, COUNT),
        partial(judging.nearest, module, images, labels),
        f"DeepFool, l2, {COUNT} MNIST images, {name.removeprefix('mnist-')} CNN",
    )
    assert_not_worse(facts, "foolbox")


@pytest.mark.parametrize("name", ["mnist-undefended", "mnist-adversarial"], ids=["undefended", "adversarial"])
def test_carlini_wagner(benchmark: Any, name: str) -> None:
    """Five searches of a hundred steps. The step and the first constant are such that foolbox breaks every image; at
    its own defaults it would need ten thousand steps a search."""
    skip_unless_registered("cw")
    module, images, labels = digits(name, COUNT)
    binary_steps, steps, rate, initial = 5, 100, 0.1, 1.0
    run = partial(attack, module, images, labels, "cw", "pixels-l2:inf@gradient")
    settings: dict[str, Any] = {
        "binary_steps": binary_steps,
        "steps": steps,
        "learning_rate": rate,
        "initial_const": initial,
    }
    facts = compare(
        benchmark,
        lambda size: run(batch_size=size, confidence=0.0, **settings),
        {
            "foolbox": lambda size: peers.carlini_wagner(
                module, images, labels, binary_steps=binary_steps, steps=steps, rate=rate, initial=initial, size=size
            )
        },
        (COUNT,),
        partial(judging.nearest, module, images, labels),
        f"C&W, l2, {binary_steps} x {steps} steps, {COUNT} MNIST images, {name.removeprefix('mnist-')} CNN",
    )
    assert_not_worse(facts, "foolbox")


@pytest.mark.parametrize("name", ["mnist-undefended", "mnist-adversarial"], ids=["undefended", "adversarial"])
def test_jsma(benchmark: Any, name: str) -> None:
    """Towards (label + 1) % 10, pairs of pixels set to 1, at most a tenth of them: 40 pairs of 784 pixels.

    ART's takes the two pixels with the largest gradient of the target and looks at no other class, which is another,
    cheaper algorithm; it is timed, but its pixels are not compared.
    """
    skip_unless_registered("jsma")
    count = 20
    module, images, labels = digits(name, count)
    targets = (labels + 1) % 10

    def judge(found: Tensor) -> dict[str, float]:
        reached = judging.predictions(module, found) == targets
        changed = ((found - images).abs() > 1e-6).flatten(1).sum(1)
        return {"success": float(reached.double().mean()), "mean norm": float(changed[reached].double().mean())}

    run = partial(
        attack, module, images, labels, "jsma", "pixels-l0:80@gradient", targets=targets, theta=1.0, share=80 / 784
    )
    facts = compare(
        benchmark,
        lambda size: run(batch_size=size),
        {
            name: partial(_jsma_of, name, module, images, targets)  # each at its fastest size, be it one image
            for name in ("torchattacks", "art")
        },
        (1, count),
        judge,
        f"JSMA, l0 (pixels), theta 1, gamma 0.1, {count} MNIST images, {name.removeprefix('mnist-')} CNN",
    )
    assert_not_worse(facts, "torchattacks")


def _jsma_of(name: str, module: nn.Module, images: Tensor, targets: Tensor, size: int) -> Tensor:
    found = peers.jsma(name, module, images, targets, theta=1.0, gamma=0.1, size=size)
    assert bool((torch.isfinite(found)).all())
    return found
