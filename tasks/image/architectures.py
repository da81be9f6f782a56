"""Further architectures for digits, for models that users bring: a perceptron and a residual network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from torch import Tensor, nn
from torch.nn import functional


class Perceptron(nn.Module):
    """Hidden layers of rectified units, each of the same width. [batch, ...] of so many pixels to logits [batch,
    classes]."""

    def __init__(self, width: int = 128, hidden: int = 2, pixels: int = 64, classes: int = 10) -> None:
        super().__init__()
        sizes = [pixels, *[width] * hidden]
        layers = [layer for sides in pairwise(sizes) for layer in (nn.Linear(*sides), nn.ReLU())]
        self.layers = nn.Sequential(nn.Flatten(), *layers, nn.Linear(sizes[-1], classes))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class ResidualBlock(nn.Module):
    """Two convolutions beside an identity (He et al. 2016, https://arxiv.org/abs/1603.05027), normalised image by
    image, so that rows never meet; stride 2 where the width grows."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.first_norm, self.second_norm = nn.GroupNorm(1, inputs), nn.GroupNorm(1, outputs)
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.beside = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        inner = self.first(functional.relu(self.first_norm(images)))
        inner = self.second(functional.relu(self.second_norm(inner)))
        found: Tensor = inner + self.beside(images)
        return found


class ResidualNet(nn.Module):
    """Three stages of residual blocks, each twice as wide as the one before, and the mean over all places.

    [batch, channels, height, width] in [0, 1], 1 x 8 x 8 for digits, to logits [batch, classes].
    """

    def __init__(self, width: int = 16, blocks: int = 1, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        widths = [width] * (blocks + 1) + [2 * width] * blocks + [4 * width] * blocks
        self.entry = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(*sides) for sides in pairwise(widths)))
        self.norm = nn.GroupNorm(1, widths[-1])
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        found = functional.relu(self.norm(self.blocks(self.entry(images))))
        logits: Tensor = self.head(found.mean((2, 3)))
        return logits


FURTHER: Final[dict[str, Callable[..., nn.Module]]] = {"perceptron": Perceptron, "residual": ResidualNet}
