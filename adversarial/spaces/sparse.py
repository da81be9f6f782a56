"""The norms that favour few features: L1, the sum of all changes, and L0, their number.

Rows are [batch, features] as in adversarial.spaces.norms. An l0 budget that is no whole number counts as the one below.
"""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.errors import NotApplicable
from adversarial.keys import Keys


class L1:
    """The sum of absolute entries, with the projection of Croce & Hein 2021 (Mind the box: l1-APGD for sparse
    adversarial attacks on image classifiers, https://arxiv.org/abs/2103.01208) onto ball and box at once."""

    coupled = True
    convex = True

    def measure(self, d: Tensor) -> Tensor:
        return _sum_of(d).to(d.dtype)

    def steepest(self, gradient: Tensor) -> Tensor:
        """A corner of the unit ball: the feature with the largest gradient, the leftmost of equal ones, by 1."""
        place = gradient.abs().argmax(1, keepdim=True)
        return torch.zeros_like(gradient).scatter(1, place, gradient.gather(1, place).sign())

    def sparse_step(self, gradient: Tensor, count: Tensor) -> Tensor:
        """A step of unit norm, spread evenly over the `count` largest entries of the gradient, after Tramer & Boneh
        2019 (Adversarial training and robustness for multiple perturbations, https://arxiv.org/abs/1904.13000): one
        feature at a time would take as many steps as features matter.

        count: int64 [batch], at least 1. Never more features than have a gradient; zero where none has.
        """
        count = torch.minimum(count, (gradient != 0).sum(1)).clamp(min=1)
        step = gradient.sign() / count[:, None]
        return torch.where(largest(gradient.abs(), count), step, 0.0)

    def project(self, d: Tensor, radius: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
        """The nearest point of ball and box: every entry moved towards zero by one and the same number and then cut
        off at its wall. That number solves a piecewise linear equation, whose corners are sorted (without a box: Duchi
        et al. 2008, Efficient projections onto the l1-ball for learning in high dimensions)."""
        inside = d if low is None else torch.clamp(d, low, high)
        over = _sum_of(inside).to(d.dtype) > radius
        if not bool(over.any()):
            return inside
        # In float64: where d is far outside, what is left of an entry is the small difference of large numbers.
        size = d.abs().to(torch.float64)
        room = None if low is None or high is None else torch.where(d > 0, high, -low).to(torch.float64)
        shrunk = (size - _threshold(size, room, radius.to(torch.float64)[:, None])).clamp(min=0)
        shrunk = shrunk if room is None else torch.minimum(shrunk, room)
        return torch.where(over[:, None], shrunk.to(d.dtype) * d.sign(), inside)

    def sample(self, keys: Keys, features: int, distribution: str, live: Tensor | None) -> Tensor:
        sign = keys.fold("sign").sign((features,)) if distribution == "uniform" else keys.sign((features,))
        if live is not None:
            sign = sign * live
        if distribution == "sign":
            return sign / sign.abs().sum(1, keepdim=True).clamp(min=1)
        if distribution == "gaussian":
            direction = keys.normal((features,)) * sign.abs()
            return direction / _sum_of(direction).clamp(min=1e-12)[:, None].to(torch.float32)
        # Exponential draws over their sum are uniform on the simplex, and all but one of them uniform below it. In
        # float64: float32 logarithms differ in their last bit between a batch and a row alone.
        draws = -keys.uniform((features,)).to(torch.float64).log() * sign
        rest = -keys.fold("radius").uniform((1,)).to(torch.float64).log()
        return (draws / (_sum_of(draws)[:, None] + rest)).to(torch.float32)

    def round(self, d: Tensor, radius: Tensor) -> Tensor:
        """All entries towards zero, then those with the largest remainders one up: the nearest whole numbers that
        are in the ball and lose less than 1 of d's norm. Rounding each to its nearest could lose a spread d whole."""
        size = d.abs().to(torch.float64)
        lower, length = size.floor(), size.sum(1)
        most = torch.where(length.to(d.dtype) <= radius, radius.to(torch.float64).floor(), torch.inf)
        wanted = size.round().sum(1).maximum(length.floor()).minimum(most)
        up = largest(size - lower, (wanted - lower.sum(1)).clamp(min=0).to(torch.int64))
        return (lower + up).to(d.dtype) * d.sign()


class L0:
    """How many entries are not zero, whatever their size: only the box bounds that. The space of Papernot et al. 2016
    (The limitations of deep learning in adversarial settings, https://arxiv.org/abs/1511.07528), with the projection
    of Croce & Hein 2019 (Sparse and imperceivable adversarial attacks, https://arxiv.org/abs/1909.05040).

    coupled is False: an entry at a wall leaves nothing to others, and no rounding of float32 makes a zero a change.
    """

    coupled = False
    convex = False

    def measure(self, d: Tensor) -> Tensor:
        return (d != 0).sum(1).to(d.dtype)

    def steepest(self, gradient: Tensor) -> Tensor:  # noqa: ARG002
        raise NotApplicable(
            "a count of features bounds no step along a gradient; use an attack that picks features, like jsma, or a "
            "norm that measures sizes: linf, l2, l1"
        )

    def project(self, d: Tensor, radius: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
        """The nearest point of ball and box: clamped, then the features kept that would be missed most, d^2 less the
        square of what the clamp cut off. Without a wall in the way these are the largest ones; ties go to the left."""
        inside = d if low is None else torch.clamp(d, low, high)
        # In float64: squares of tiny features would underflow to the rank of those that do not change.
        kept, whole = inside.to(torch.float64), d.to(torch.float64)
        return torch.where(largest(kept * (2 * whole - kept), counted(radius, d.shape[1])), inside, 0.0)

    def sample(self, keys: Keys, features: int, distribution: str, live: Tensor | None) -> Tensor:
        """A random point of the unit ball: one feature. `scatter` draws from other balls."""
        return self.scatter(keys, torch.ones(len(keys), device=keys.state.device), features, distribution, live)

    def scatter(
        self,
        keys: Keys,
        radius: Tensor,
        features: int,
        distribution: str,
        live: Tensor | None,
        low: Tensor | None = None,
        high: Tensor | None = None,
    ) -> Tensor:
        """As many random features as `radius` [batch] allows, each at a random place of its range [low, high]; `sign`
        takes the ends alone. Where a side is open, the range ends at 1."""
        if distribution == "sign":
            values = keys.sign((features,))
        elif distribution == "gaussian":
            values = (keys.normal((features,)) / 2).clamp(-1, 1)  # 2 deviations reach the wall
        else:
            values = keys.uniform((features,)) * 2 - 1
        order = keys.fold("feature").uniform((features,))
        if live is not None:
            order = order * live
        chosen = largest(order, counted(radius, features)) & (order > 0)
        if low is not None and high is not None:
            least, most = low.nan_to_num(neginf=-1.0), high.nan_to_num(posinf=1.0)
            values = least + (most - least) * ((values + 1) / 2)
        return torch.where(chosen, values, 0.0)

    def round(self, d: Tensor, radius: Tensor) -> Tensor:  # noqa: ARG002
        return d.round()  # never makes a change out of a zero


def counted(radius: Tensor, features: int) -> Tensor:
    """The number of features that a budget allows, int64 [batch]; all of them for inf."""
    return radius.clamp(0, features).floor().to(torch.int64)


def largest(magnitude: Tensor, count: Tensor) -> Tensor:
    """Which entries are the `count` [batch] largest of their row, bool [batch, features]; ties go to the left."""
    most = int(count.max()) if len(count) else 0
    if most == 0 or magnitude.shape[1] == 0:
        return torch.zeros_like(magnitude, dtype=torch.bool)
    # By the last value that is in rather than by topk's indices, which choose among ties as they like.
    last = magnitude.topk(min(most, magnitude.shape[1]), dim=1).values.gather(1, (count[:, None] - 1).clamp(min=0))
    above, level = magnitude > last, magnitude == last
    return above | (level & (level.cumsum(1) <= count[:, None] - above.sum(1, keepdim=True)))


def _sum_of(d: Tensor) -> Tensor:
    """Sums of absolute entries, float64 [batch]: in float32 they depend on how much padding a row has."""
    return d.abs().to(torch.float64).sum(1)


def _threshold(size: Tensor, room: Tensor | None, limit: Tensor) -> Tensor:
    """The t at which the sum of clip(size - t, 0, room) is `limit`, float64 [batch, 1].

    From the largest t down, the sum starts to grow with an entry at t = size and stops at t = size - room.
    """
    # What is zero already adds nothing. Which of equals topk takes makes no difference either.
    moving = int((size > 0).sum(1).max())
    size, place = size.topk(moving, dim=1)
    room = None if room is None else room.gather(1, place)
    starts = torch.ones_like(size)
    if room is None:
        corners, turns = torch.cat([size, torch.zeros_like(limit)], 1), torch.cat([starts, torch.zeros_like(limit)], 1)
    else:
        corners, turns = torch.cat([size, (size - room).clamp(min=0)], 1), torch.cat([starts, -starts], 1)
    corners, order = corners.sort(dim=1, descending=True)
    slope = turns.gather(1, order).cumsum(1)
    grown = (slope[:, :-1] * (corners[:, :-1] - corners[:, 1:])).cumsum(1)
    reached = torch.cat([torch.zeros_like(limit), grown], 1)  # the sum at each corner
    last = (torch.searchsorted(reached, limit, right=True) - 1).clamp(min=0)
    missing = limit - reached.gather(1, last)
    return (corners.gather(1, last) - missing / slope.gather(1, last).clamp(min=1)).clamp(min=0)
