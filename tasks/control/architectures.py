"""Further policies for CartPole, for models that users bring."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from tasks.control.dataset import ACTIONS, SCALE


class RectifiedPolicy(nn.Module):
    """Hidden layers of rectified units: observations [batch, 4] in the environment's units to logits [batch, 2]."""

    def __init__(self, width: int = 64, hidden: int = 2) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(SCALE), persistent=False)
        sizes = [len(SCALE), *[width] * hidden]
        layers = [layer for sides in pairwise(sizes) for layer in (nn.Linear(*sides), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], ACTIONS))

    def forward(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.layers(observations / self.get_buffer("scale"))
        return logits


FURTHER: Final[dict[str, Callable[..., nn.Module]]] = {"rectified-policy": RectifiedPolicy}
