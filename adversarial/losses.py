"""Losses of class decisions that attackers ascend, a value a row. A class at -inf is one that is never decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from adversarial.errors import UnknownName


FEWEST: Final = 4  # classes that the difference of logits ratio compares

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
    https://arxiv.org/abs/2003.01690); float32 [batch].

    Untargeted, the spread is from the largest logit to the second largest of the label's rivals, which is the third of
    all where the label is first or second; towards a class, it is from the largest to the mean of the third and fourth.
    A ratio of three logits says only where the middle one lies between the others, and can be constant. So rows with
    fewer than four classes, those at -inf not counted, get the margin itself: its gradient's direction is blind to
    scale, too.
    """
    lead = margin(logits, labels, towards)
    if logits.shape[1] < FEWEST:
        return lead
    if towards is None:
        others = _without(logits, labels).topk(FEWEST - 1, dim=1).values
        last, lowest = others[:, -1], others[:, 1]
        highest = torch.maximum(others[:, 0], _of(logits, labels))
    else:
        ordered = logits.topk(FEWEST, dim=1).values
        last, lowest, highest = ordered[:, 3], ordered[:, 2:].mean(1), ordered[:, 0]
    plain = torch.isneginf(last) | torch.isinf(lead)
    return lead / torch.where(plain, 1.0, highest - lowest + 1e-12)


def _lead_of_others(logits: Tensor, labels: Tensor) -> Tensor:
    return _without(logits, labels).amax(1) - _of(logits, labels)


def _of(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None]).squeeze(1)


def _without(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.scatter(1, classes[:, None], -torch.inf)


CLASS_LOSSES: Final[dict[str, ClassLoss]] = {"ce": cross_entropy, "margin": margin, "dlr": difference_of_logits}


def class_loss(name: str) -> ClassLoss:
    """The loss of that name; raises UnknownName."""
    try:
        return CLASS_LOSSES[name]
    except KeyError:
        raise UnknownName.among("loss", name, CLASS_LOSSES) from None
