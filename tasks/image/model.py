"""Architectures for digits, by the name that a card gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import Tensor, nn

from tasks.image.architectures import FURTHER


class SmallConvNet(nn.Module):
    """Three convolutions and two linear layers, without normalisation: rows never meet.

    [batch, 1, 8, 8] in [0, 1] to logits [batch, 10].
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Linear(2 * width * 16, 4 * width), nn.ReLU(), nn.Linear(4 * width, 10))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits


ARCHITECTURES: Final[dict[str, Callable[..., nn.Module]]] = {"small-conv": SmallConvNet, **FURTHER}
