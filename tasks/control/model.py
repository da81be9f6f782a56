"""Policies for CartPole, by the name that a card gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from tasks.control.architectures import FURTHER
from tasks.control.dataset import ACTIONS, SCALE


class PolicyNet(nn.Module):
    """Two hidden layers of tanh.

    [batch, 4] in the environment's units to logits of the actions, [batch, 2]. Observations are divided by the
    environment's fixed scale, never by running statistics: a normaliser of the agent's own would hide what a budget
    means, and would make rows meet.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(SCALE), persistent=False)
        self.layers = tanh_layers(width, ACTIONS)

    def forward(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.layers(observations / self.get_buffer("scale"))
        return logits


def tanh_layers(width: int, outputs: int) -> nn.Sequential:
    """4 - width - width - outputs."""
    return nn.Sequential(
        nn.Linear(len(SCALE), width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)
    )


ARCHITECTURES: Final[dict[str, Callable[..., nn.Module]]] = {"tanh-policy": PolicyNet, **FURTHER}
