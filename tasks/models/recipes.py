"""How a reference model is made: data for the training loops, and part of every card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run.

    model: the name of the result. defense: a registered train-stage defense, or `none`. defense_params: its
    parameters. threat: what it is hardened against, as a string; empty without a defense. share: of each batch that
    the defense disturbs. epochs, batch_size, learning_rate, weight_decay: of the optimiser. seed: of weights,
    batches and draws. options: what only one task's loop reads.
    """

    model: str
    defense: str = "none"
    defense_params: Mapping[str, Any] = field(default_factory=dict)
    threat: str = ""
    share: float = 1.0
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
