"""The geometry of a norm: how long, the steepest step, the nearest point of the ball, a random point in it.

All functions work on rows, [batch, features] of float32, and reduce only within a row, so that a row's result does
not depend on its neighbours. `live` is bool [batch, features] or None: features that do not exist (padding).
"""

from __future__ import annotations

from typing import Final, Protocol

import torch
from torch import Tensor

from adversarial.errors import InvalidOption, InvalidThreat
from adversarial.keys import Keys
from adversarial.spaces.sparse import L0, L1


DISTRIBUTIONS: Final = ("uniform", "gaussian", "sign")


class Geometry(Protocol):
    """One norm's ball. coupled: whether features share the budget, so that one at a wall leaves room to others.
    convex: whether a budget bounds the size of a step; for L0 it does not."""

    coupled: bool
    convex: bool

    def measure(self, d: Tensor) -> Tensor:
        """The norm of each row, [batch], in the dtype of d."""

    def steepest(self, gradient: Tensor) -> Tensor:
        """The point of the unit ball furthest along the gradient; zero where the gradient is zero."""

    def project(self, d: Tensor, radius: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
        """A point of the ball of `radius` [batch] and the box [low, high], which holds zero, near d."""

    def sample(self, keys: Keys, features: int, distribution: str, live: Tensor | None) -> Tensor:
        """A random point of the unit ball; `sign` and `gaussian` lie on its surface or near it."""

    def round(self, d: Tensor, radius: Tensor) -> Tensor:
        """Whole numbers near d, inside the ball where d is."""


class Linf:
    """The largest absolute entry."""

    coupled = False
    convex = True

    def measure(self, d: Tensor) -> Tensor:
        return d.abs().amax(1)

    def steepest(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def project(self, d: Tensor, radius: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
        d = torch.clamp(d, -radius[:, None], radius[:, None])
        return d if low is None else torch.clamp(d, low, high)

    def sample(self, keys: Keys, features: int, distribution: str, live: Tensor | None) -> Tensor:  # noqa: ARG002
        if distribution == "sign":
            return keys.sign((features,))
        if distribution == "gaussian":
            return (keys.normal((features,)) / 2).clamp(-1, 1)  # 2 deviations reach the ball's surface
        return keys.uniform((features,)).mul_(2).sub_(1)

    def round(self, d: Tensor, radius: Tensor) -> Tensor:
        whole = radius.floor()[:, None]
        nearest = d.round()
        return torch.where(d.abs() <= radius[:, None], torch.clamp(nearest, -whole, whole), nearest)


class L2:
    """The Euclidean length."""

    coupled = True
    convex = True

    def measure(self, d: Tensor) -> Tensor:
        return _length_of(d)

    def steepest(self, gradient: Tensor) -> Tensor:
        # The largest entry is divided out first: squares of a tiny gradient would underflow to a zero length.
        largest = gradient.abs().amax(1, keepdim=True)
        scaled = gradient / torch.where(largest > 0, largest, 1.0)
        return scaled / _length(scaled)

    def project(self, d: Tensor, radius: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
        radius = radius[:, None]
        if low is not None:
            # Features at the box's wall leave length for the others: the nearest point of ball and box scales the
            # free ones up. A few rounds find which features are free; the last line keeps the ball in any case.
            factor = (radius / _length(d)).clamp(max=1)
            for _ in range(3):
                inside = torch.clamp(d * factor, low, high)
                walled = inside != d * factor
                left = (radius.square() - _length_of(inside * walled)[:, None].square()).clamp(min=0).sqrt()
                factor = (left / _length(d * ~walled)).clamp(max=1).maximum(factor)
            d = torch.clamp(d * factor, low, high)
        return d * (radius / _length(d)).clamp(max=1)

    def sample(self, keys: Keys, features: int, distribution: str, live: Tensor | None) -> Tensor:
        direction = keys.sign((features,)) if distribution == "sign" else keys.normal((features,))
        if live is not None:
            direction = direction * live
        direction = direction / _length(direction)
        if distribution != "uniform":
            return direction
        count = features if live is None else live.sum(1, keepdim=True).clamp(min=1)
        # In float64: float32 powers differ in their last bit between a batch and a row alone.
        length = keys.fold("radius").uniform((1,)).to(torch.float64) ** (1 / count)
        return direction * length.to(torch.float32)

    def round(self, d: Tensor, radius: Tensor) -> Tensor:
        # Rounding adds a twelfth of a squared step a feature, give or take. Where the nearest point leaves the ball,
        # shrink by that and three deviations first; where even this is not enough, round towards zero, which never
        # leaves it. Features that stay at zero, such as padding, add nothing.
        radius, length, moving = radius[:, None], _length_of(d)[:, None], (d != 0).sum(1, keepdim=True)
        added = moving / 12 + 3 * (length.square() / 3 + moving / 180).sqrt()
        room = (radius.square() - added).clamp(min=0).sqrt()
        nearest = d.round()
        for smaller in ((d * (room / _length(d)).clamp(max=1)).round(), d.trunc()):
            over = _length_of(nearest)[:, None] > radius
            nearest = torch.where(over, smaller, nearest)
        return torch.where(length <= radius, nearest, d.round())


def _length_of(d: Tensor) -> Tensor:
    # Summed in float64: over the samples of an utterance, float32 is off by more than the audit allows, and its last
    # bit depends on how much padding a row has.
    length: Tensor = torch.linalg.vector_norm(d.to(torch.float64), dim=1)
    return length.to(d.dtype)


def _length(d: Tensor) -> Tensor:
    """Lengths [batch, 1], 1 where a row is zero, as divisors."""
    length = _length_of(d)[:, None]
    return torch.where(length > 0, length, 1.0)


_GEOMETRIES: Final[dict[str, Geometry]] = {"linf": Linf(), "l2": L2(), "snr": L2(), "l1": L1(), "l0": L0()}


def geometry(norm: str) -> Geometry:
    """The geometry of a continuous norm; raises InvalidThreat for one that has none."""
    try:
        return _GEOMETRIES[norm]
    except KeyError:
        raise InvalidThreat(
            f"no continuous ball in the norm {norm!r}; expected one of {', '.join(_GEOMETRIES)}"
        ) from None


def check_distribution(distribution: str) -> None:
    if distribution not in DISTRIBUTIONS:
        raise InvalidOption(f"noise is one of {', '.join(DISTRIBUTIONS)}, not {distribution!r}")
