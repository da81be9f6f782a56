"""On a victim that keeps rows apart, a measurement is the same byte for byte for any batch size, order and padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from adversarial.attacks.fgsm import fgsm
from adversarial.attacks.noise import noise
from adversarial.attacks.pgd import pgd
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.threats import BUILT_IN, Threat
from tasks.measuring.arrays import ArrayTask
from tasks.measuring.batches import Batch
from tasks.measuring.protocol import Measurement, Trial
from tasks.measuring.static import measure_static


ROWS, WIDTH = 9, 48


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class RowWise:
    """Elementwise products and sums over a row of one width, whatever the padding."""

    differentiable = True

    def __call__(self, inputs: Inputs) -> Scores:
        values = inputs.values
        if inputs.mask is not None:
            values = values * inputs.mask.reshape(*inputs.mask.shape, *[1] * (values.ndim - inputs.mask.ndim))
        flat = values.flatten(1)
        flat = functional.pad(flat, (0, WIDTH - flat.shape[1]))
        bent = flat * (1 + flat * flat)
        return Scores(torch.stack([(bent * weight).sum(1) for weight in draw(7, 3, WIDTH)], 1))


class Shuffled:
    """A task whose batches hold the examples in another order, cut to the longest of each batch."""

    def __init__(self, task: ArrayTask, order: list[int]) -> None:
        self.task, self.order = task, order

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def batches(self, split: str, limit: int | None, batch_size: int, device: torch.device) -> Iterator[Batch]:
        (whole,) = self.task.batches(split, limit, ROWS, device)
        for start in range(0, ROWS, batch_size):
            rows = self.order[start : start + batch_size]
            inputs = whole.inputs.take(torch.tensor(rows))
            if inputs.mask is not None:
                longest = int(inputs.mask.sum(1).max())
                inputs = Inputs(inputs.values[:, :longest], inputs.mask[:, :longest])
            yield Batch(tuple(whole.ids[r] for r in rows), tuple(rows), inputs, tuple(whole.truth[r] for r in rows))


def task(surface: str) -> ArrayTask:
    if surface == "pixels":
        inputs = Inputs((draw(1, ROWS, 3, 4, 4) * 0.4 + 0.5).clamp(0, 1))
    elif surface == "observations":
        inputs = Inputs(draw(1, ROWS, 4))
    else:
        longest = WIDTH if surface == "waveform" else WIDTH // 4
        mask = torch.arange(longest) < torch.linspace(longest, 2, ROWS).round()[:, None]
        if surface == "waveform":
            inputs = Inputs((draw(1, ROWS, longest) * 3000).round() / 32768 * mask, mask)
        else:
            inputs = Inputs(draw(1, ROWS, longest, 4) * mask[:, :, None], mask)
    labels = RowWise()(inputs).values.argmax(1)
    return ArrayTask(inputs, labels, scale=torch.tensor([1.0, 0.3, 2.0, 0.1]), surface=BUILT_IN[surface])


def same(one: Measurement, other: Measurement) -> bool:
    evidence = [{name: tensor.numpy().tobytes() for name, tensor in m.evidence.items()} for m in (one, other)]
    return one.examples == other.examples and evidence[0] == evidence[1]


ATTACKS: dict[str, Callable[[Problem], None]] = {
    "noise-uniform": partial(noise, distribution="uniform"),
    "noise-gaussian": partial(noise, distribution="gaussian"),
    "noise-sign": partial(noise, distribution="sign"),
    "fgsm": fgsm,
    "pgd": partial(pgd, steps=4, restarts=2),
}
THREATS = (
    "pixels-linf:0.1",
    "pixels-l2:0.8",
    "waveform-snr:20",
    "waveform-l2:0.05",
    "waveform-linf:0.01",
    "embeddings-l2:1",
    "embeddings-linf:0.2",
    "observations-linf:0.5",
    "observations-l2:0.5",
)


@pytest.mark.parametrize("threat", THREATS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_any_batch_size_order_and_padding_gives_the_same_bytes(attack: str, threat: str) -> None:
    parsed, victim = Threat.parse(threat), RowWise()
    arrays = task(parsed.surface)
    forwards = set()

    def measured(of: Any, batch_size: int, seed: int = 0) -> Measurement:
        ledger = Ledger()
        found = measure_static(of, victim, Trial(parsed, ATTACKS[attack], seed=seed, batch_size=batch_size), ledger)
        forwards.add(ledger.forwards)
        return found

    first = measured(arrays, 64)
    for batch_size in (1, 3):
        assert same(measured(arrays, batch_size), first)
        assert same(measured(Shuffled(arrays, list(range(ROWS))), batch_size), first)
    assert same(measured(Shuffled(arrays, list(range(ROWS))[::-1]), 4), first)
    assert len(forwards) == 1
    assert same(measured(arrays, 64, seed=1), first) == (attack == "fgsm")
