"""Losses of class decisions that attackers ascend, a value a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from adversarial.errors import UnknownName


ClassLoss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log softmax(logits)[label]; float32 [batch] from [batch, classes] and int64 [batch]."""
    return functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The largest other logit minus the label's: positive where the decision is wrong (Carlini & Wagner 2016)."""
    own = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - own


CLASS_LOSSES: Final[dict[str, ClassLoss]] = {"ce": cross_entropy, "margin": margin}


def class_loss(name: str) -> ClassLoss:
    """The loss of that name; raises UnknownName."""
    try:
        return CLASS_LOSSES[name]
    except KeyError:
        raise UnknownName.among("loss", name, CLASS_LOSSES) from None
