"""Models whose numbers must not be believed, and honest ones that must: wrappers of the undefended digits model.

A file that `python:` sources name, one function a model.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

import tasks
from adversarial.inputs import Inputs, Scores
from tasks.image.model import ARCHITECTURES
from tasks.models.architectures import build
from tasks.models.cards import read_card


UNDEFENDED = Path(tasks.__file__).parent / "image" / "models" / "undefended"


def undefended() -> nn.Module:
    return build(ARCHITECTURES, UNDEFENDED, read_card(UNDEFENDED)).eval()


class Wrapped(nn.Module):
    """A model with something before and something after it."""

    def __init__(self, before: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor] = lambda z: z) -> None:
        super().__init__()
        self.model, self.before, self.after = undefended(), before, after

    def forward(self, pixels: Tensor) -> Tensor:
        return self.after(self.model(self.before(pixels)))


class Undifferentiable:
    """A victim that says that nobody can follow its gradients."""

    differentiable = False

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, inputs: Inputs) -> Scores:
        return Scores(self.module(inputs.values))


def as_it_is(pixels: Tensor) -> Tensor:
    return pixels


def jpeg(pixels: Tensor) -> Tensor:
    """Through Pillow's encoder and back at quality 75, outside of any graph."""
    found = []
    for picture in pixels.detach().numpy():
        file = io.BytesIO()
        Image.fromarray((picture[0] * 255).round().astype(np.uint8)).save(file, "JPEG", quality=75)
        found.append(np.asarray(Image.open(file), dtype=np.float32)[None] / 255)
    return torch.from_numpy(np.stack(found))


def four_levels() -> nn.Module:
    return Wrapped(lambda x: (x * 3).round() / 3)


def times_30() -> nn.Module:
    return Wrapped(as_it_is, lambda z: z * 30)


def times_10000() -> nn.Module:
    return Wrapped(as_it_is, lambda z: z * 1e4)


def times_a_billionth() -> nn.Module:
    return Wrapped(as_it_is, lambda z: z * 1e-9)


def detached() -> nn.Module:
    return Wrapped(Tensor.detach)


def jpeg_detached() -> nn.Module:
    return Wrapped(jpeg)


def jpeg_declared() -> Undifferentiable:
    return Undifferentiable(Wrapped(jpeg))


def declared() -> Undifferentiable:
    return Undifferentiable(undefended())


def other_with_gradients() -> nn.Module:
    """Right by itself, and a constant wherever gradients are on."""
    return Wrapped(as_it_is, lambda z: z * 0 + torch.eye(10)[0] if torch.is_grad_enabled() else z)


def other_after_a_while() -> nn.Module:
    """Honest for its first calls, and another model from then on wherever gradients are on."""
    model = Wrapped(as_it_is)
    calls = 0

    def before(pixels: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return 1 - pixels if calls > 4 and torch.is_grad_enabled() else pixels

    model.before = before
    return model


def other_off_the_grid() -> nn.Module:
    """Honest on undisturbed digits, whose pixels are sixteenths, and another model elsewhere if gradients are on."""

    def before(pixels: Tensor) -> Tensor:
        disturbed = ((pixels * 16).round() - pixels * 16).abs().flatten(1).amax(1) > 1e-4
        return torch.where(disturbed[:, None, None, None] & torch.is_grad_enabled(), 1 - pixels, pixels)

    return Wrapped(before)


def noise_off_the_grid() -> nn.Module:
    def before(pixels: Tensor) -> Tensor:
        disturbed = ((pixels * 16).round() - pixels * 16).abs() > 1e-4
        return pixels + 0.3 * disturbed * torch.empty_like(pixels).normal_(generator=_NOISE)

    return Wrapped(before)


def neighbours() -> nn.Module:
    """All rows but the first see a little of the row before them."""
    return Wrapped(lambda x: torch.cat([x[:1], 0.9 * x[1:] + 0.1 * x[:-1]]))


def dropout_on() -> nn.Module:
    return Wrapped(lambda x: functional.dropout(x, 0.2, training=True))


def noise_on() -> nn.Module:
    return Wrapped(lambda x: x + 0.1 * torch.empty_like(x).normal_(generator=_NOISE))


_NOISE = torch.Generator().manual_seed(0)  # of its own: a test must not move the global one


def quantised_weights() -> nn.Module:
    """Weights rounded to 8 bits, a scale for each tensor."""
    return _with_weights(lambda w: (w / w.abs().max() * 127).round() * w.abs().max() / 127)


def pruned() -> nn.Module:
    """The smaller half of each tensor's weights set to zero."""
    return _with_weights(lambda w: torch.where(w.abs() >= w.abs().median(), w, 0.0))


def gelu() -> nn.Module:
    return _trained(nn.GELU)


def tanh() -> nn.Module:
    return _trained(nn.Tanh)


def _with_weights(change: Callable[[Tensor], Tensor]) -> nn.Module:
    model = undefended()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.copy_(change(weights))
    return model


def _trained(activation: Callable[[], nn.Module]) -> nn.Module:
    """A small net of that activation, trained on the digits."""
    from tasks.image.dataset import load_split

    digits: Any = load_split("train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            activation(),
            nn.Flatten(),
            nn.Linear(1024, 64),
            activation(),
            nn.Linear(64, 10),
        )
    images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels).long()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for epoch in range(12):
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(epoch))
        for rows in order.split(64):
            optimiser.zero_grad()
            functional.cross_entropy(model(images[rows]), labels[rows]).backward()
            optimiser.step()
    return model.eval()
