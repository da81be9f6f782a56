"""What an attack gets back from a Problem, and where in an episode it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from adversarial.inputs import Scores


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the attacker learns of a batch of perturbations, a value a row.

    success: bool. loss: float32, scores: the victim's answer; both None where the threat shows decisions only.
    """

    success: Tensor
    loss: Tensor | None
    scores: Scores | None


@dataclass(frozen=True, slots=True)
class Gradient:
    """The gradient of the loss in d, shaped like d, zero where it was not finite; loss, success and scores at d."""

    values: Tensor
    loss: Tensor
    success: Tensor
    scores: Scores


@dataclass(frozen=True, slots=True)
class Jacobian:
    """The gradients of several functions of the scores.

    values: [functions, batch, ...], each shaped like d; for words the first-order change of each single replacement,
    [functions, batch, positions, choices], -inf where a choice does not exist. outputs: the functions at d,
    [batch, functions]. success, scores: at d.
    """

    values: Tensor
    outputs: Tensor
    success: Tensor
    scores: Scores


@dataclass(frozen=True, slots=True)
class Context:
    """Where in an episode the batch is.

    memory: what an attack keeps from one step to the next, by name. episodes: int64 [batch], which episode a row is,
    the same number at every step: finished ones leave the batch, so rows move. At step 0 there is a row for each.
    """

    step: int
    memory: dict[str, Any]
    episodes: Tensor
