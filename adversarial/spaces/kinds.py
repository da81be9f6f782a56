"""Which kind of space an attack needs, and the words for a board where it has another one."""

from __future__ import annotations

from typing import TypeGuard

import torch

from adversarial.errors import NotApplicable
from adversarial.spaces.protocol import ContinuousSpace, DiscreteSpace, Space


def is_continuous(space: Space) -> TypeGuard[ContinuousSpace]:
    """Whether d can be stepped along a gradient."""
    return hasattr(space, "steepest")


def continuous(space: Space) -> ContinuousSpace:
    """The space itself; raises NotApplicable where it is one of choices."""
    if not is_continuous(space):
        raise NotApplicable("this attack steps along a gradient; words are attacked by hotflip")
    return space


def bounded(space: Space) -> ContinuousSpace:
    """The space itself; raises NotApplicable where it has no steepest step or, in some row, no budget to share out."""
    found = continuous(space)
    if not found.convex:
        raise NotApplicable("a count of features bounds no step along a gradient; jsma searches it")
    if bool(torch.isinf(found.radius).any()):
        raise NotApplicable("this attack's steps are shares of the budget, so the budget must be finite")
    return found


def discrete(space: Space) -> DiscreteSpace:
    """The space itself; raises NotApplicable where it is continuous."""
    if not hasattr(space, "candidates"):
        raise NotApplicable("this attack replaces words by candidates; use fgsm or pgd here")
    return space  # type: ignore[return-value]
