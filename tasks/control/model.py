"""Policies, by the name that a card gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from tasks.measuring.environments import Environment


class Scaled(nn.Module):
    """Layers that read observations, [batch, numbers] in the environment's units, in multiples of its fixed scale.

    Never of running statistics: a normaliser of the agent's own would hide what a budget means, and would make rows
    meet.
    """

    def __init__(self, scale: Sequence[float], layers: nn.Sequential) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale), persistent=False)
        self.layers = layers

    def forward(self, observations: Tensor) -> Tensor:
        found: Tensor = self.layers(observations / self.get_buffer("scale"))
        return found


def tanh_layers(environment: Environment, width: int, outputs: int) -> Scaled:
    """Two hidden layers of tanh: observations to [batch, outputs]."""
    return _layered(environment, nn.Tanh, [width, width], outputs)


def tanh_policy(environment: Environment, width: int = 64) -> nn.Module:
    """Two hidden layers of tanh: observations to logits of the actions, [batch, actions]."""
    return tanh_layers(environment, width, environment.actions)


def rectified_policy(environment: Environment, width: int = 64, hidden: int = 2) -> nn.Module:
    """Hidden layers of rectified units: observations to logits of the actions, [batch, actions]."""
    return _layered(environment, nn.ReLU, [width] * hidden, environment.actions)


def architectures(environment: Environment) -> Mapping[str, Callable[..., nn.Module]]:
    """What a card of this environment may name; sizes that the environment fixes are no arguments."""
    return {
        "tanh-policy": partial(tanh_policy, environment),
        "rectified-policy": partial(rectified_policy, environment),
    }


def _layered(environment: Environment, activation: type[nn.Module], hidden: list[int], outputs: int) -> Scaled:
    sizes = [environment.size, *hidden]
    layers = [layer for sides in pairwise(sizes) for layer in (nn.Linear(*sides), activation())]
    return Scaled(environment.scale, nn.Sequential(*layers, nn.Linear(sizes[-1], outputs)))
