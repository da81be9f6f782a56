"""Losses of class decisions that attackers ascend, a value a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from adversarial.errors import UnknownName


ClassLoss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, towards: Tensor | None = None) -> Tensor:
    """-log softmax(logits)[label], or log softmax(logits)[towards]; float32 [batch]."""
    if towards is None:
        return functional.cross_entropy(logits, labels, reduction="none")
    return -functional.cross_entropy(logits, towards, reduction="none")


def margin(logits: Tensor, labels: Tensor, towards: Tensor | None = None) -> Tensor:
    """The largest other logit minus the label's: positive where the decision is wrong (Carlini & Wagner 2016,
    https://arxiv.org/abs/1608.04644); with towards, its logit minus the largest other one."""
    if towards is None:
        return _lead_of_others(logits, labels)
    return -_lead_of_others(logits, towards)


def difference_of_logits(logits: Tensor, labels: Tensor, towards: Tensor | None = None) -> Tensor:
    """The margin over the spread of the largest logits, which makes it blind to shift and scale (Croce & Hein 2020,
    https://arxiv.org/abs/2003.01690).

    Untargeted, the spread is the first minus the third logit; towards a class, the margin is between it and the
    label, and the spread the first minus the mean of the third and fourth. With three classes the last stands in for
    the missing ones. With two, every such ratio is constant; then it is the margin itself, whose gradient's direction
    is all that an attack needs.
    """
    ordered = logits.topk(min(4, logits.shape[1]), dim=1).values
    if towards is None:
        lead = _lead_of_others(logits, labels)
        low = ordered[:, min(2, ordered.shape[1] - 1)]
    else:
        lead = (logits.gather(1, towards[:, None]) - logits.gather(1, labels[:, None])).squeeze(1)
        low = ordered[:, 2:].mean(1) if ordered.shape[1] > 2 else ordered[:, -1]
    if logits.shape[1] == 2:
        return lead
    return lead / (ordered[:, 0] - low + 1e-12)


def _lead_of_others(logits: Tensor, labels: Tensor) -> Tensor:
    own = logits.gather(1, labels[:, None]).squeeze(1)
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.amax(1) - own


CLASS_LOSSES: Final[dict[str, ClassLoss]] = {"ce": cross_entropy, "margin": margin, "dlr": difference_of_logits}


def class_loss(name: str) -> ClassLoss:
    """The loss of that name; raises UnknownName."""
    try:
        return CLASS_LOSSES[name]
    except KeyError:
        raise UnknownName.among("loss", name, CLASS_LOSSES) from None
