"""Building the module that a card names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from adversarial.errors import ModelError, UnknownName
from tasks.models.cards import Card
from tasks.models.weights import load_weights


def build(architectures: Mapping[str, Callable[..., nn.Module]], folder: Path, card: Card) -> nn.Module:
    """An empty module from the card's architecture and arguments, filled from the folder's weights.

    Raises UnknownName for an architecture that is not registered, ModelError for arguments or weights that do not
    fit it.
    """
    if card.architecture not in architectures:
        raise UnknownName.among("architecture", card.architecture, architectures)
    try:
        with torch.random.fork_rng(devices=[]):  # the first weights are drawn, and then overwritten
            module = architectures[card.architecture](**card.arguments)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{folder}: arguments {card.arguments} do not fit {card.architecture}: {error}") from None
    load_weights(module, folder, card)
    return module
