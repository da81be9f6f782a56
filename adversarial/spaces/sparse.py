"""The norms that favour few features: L1, the sum of all changes, and L0, their number."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.errors import NotApplicable
from adversarial.keys import Keys


class L1:
    """The sum of absolute entries."""

    coupled = True
    convex = True

    def measure(self, d: Tensor) -> Tensor:
        return d.abs().sum(1, dtype=torch.float64).to(d.dtype)

    def steepest(self, gradient: Tensor) -> Tensor:
        """All of the step on the feature with the largest slope, the first of equals."""
        return self.sparse_step(gradient, torch.ones(len(gradient), dtype=torch.int64, device=gradient.device))

    def sparse_step(self, gradient: Tensor, count: Tensor) -> Tensor:
        """A step of unit norm spread evenly over the `count` [batch] features with the largest slopes (Tramer & Boneh
        2019, https://arxiv.org/abs/1904.13000)."""
        order = gradient.abs().argsort(dim=1, descending=True, stable=True)
        place = torch.arange(gradient.shape[1], device=gradient.device)
        chosen = torch.zeros_like(gradient).scatter(1, order, (place < count[:, None]).to(gradient.dtype))
        signs = gradient.sign() * chosen
        return signs / signs.abs().sum(1, keepdim=True).clamp(min=1)

    def project(self, d: Tensor, radius: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
        """The nearest point of ball and box, exactly (Duchi et al. 2008; with a box Croce & Hein 2021,
        https://arxiv.org/abs/2103.01208).

        It is clip(sign(d) (|d| - t), box) for the smallest t >= 0 that is inside the ball. Along t a feature rests at
        its wall until t = |d| - wall, then shrinks, and is gone at t = |d|; between these points the norm falls
        linearly, so a sort of them finds t.
        """
        size = d.abs().to(torch.float64)
        wall = size if low is None or high is None else torch.where(d > 0, high, -low).to(torch.float64).clamp(min=0)
        start = torch.minimum(size, wall)
        limit = radius.to(torch.float64)
        begins = (size - start).clamp(min=0)
        # Slope changes: -1 where a feature leaves its wall, +1 where it reaches zero.
        points = torch.cat([begins, size], 1)
        turns = torch.cat([torch.full_like(size, -1.0), torch.ones_like(size)], 1)
        points, order = points.sort(dim=1)
        slopes = turns.gather(1, order).cumsum(1)
        falls = slopes[:, :-1] * (points[:, 1:] - points[:, :-1])
        norms = start.sum(1, keepdim=True) + torch.cat([torch.zeros_like(points[:, :1]), falls.cumsum(1)], 1)
        # The last point at which the norm is still too large; beyond it lies t.
        over = (norms > limit[:, None]).sum(1, keepdim=True)
        before = (over - 1).clamp(min=0)
        slope = -slopes.gather(1, before)
        excess = norms.gather(1, before) - limit[:, None]
        shift = points.gather(1, before) + excess / torch.where(slope > 0, slope, 1.0)
        shift = torch.where(over > 0, shift, 0.0)
        kept = torch.minimum((size - shift).clamp(min=0), wall)
        # Nothing moves where the point is inside already, not even by a rounding.
        inside = (over == 0) & (size <= wall)
        return torch.where(inside, d, (kept * d.sign()).to(d.dtype))

    def sample(self, keys: Keys, features: int, distribution: str, live: Tensor | None) -> Tensor:
        if distribution == "sign":
            signs = keys.sign((features,))
            signs = signs if live is None else signs * live
            return signs / signs.abs().sum(1, keepdim=True).clamp(min=1)
        # Laplace noise over its own norm is uniform on the sphere.
        sizes = -keys.fold("size").uniform((features,)).to(torch.float64).log() * keys.sign((features,))
        sizes = sizes if live is None else sizes * live
        direction = sizes / sizes.abs().sum(1, keepdim=True).clamp(min=1e-300)
        if distribution == "uniform":
            count = features if live is None else live.sum(1, keepdim=True).clamp(min=1)
            direction = direction * keys.fold("radius").uniform((1,)).to(torch.float64) ** (1 / count)
        return direction.to(torch.float32)

    def round(self, d: Tensor, radius: Tensor) -> Tensor:
        nearest = d.round()
        length = d.abs().sum(1, dtype=torch.float64)
        over = nearest.abs().sum(1, dtype=torch.float64) > radius
        return torch.where(((length <= radius) & over)[:, None], d.trunc(), nearest)  # towards zero stays inside


class L0:
    """The number of entries that are not zero. A feature may go as far as its range."""

    coupled = False
    convex = False

    def measure(self, d: Tensor) -> Tensor:
        return (d != 0).sum(1).to(d.dtype)

    def steepest(self, gradient: Tensor) -> Tensor:  # noqa: ARG002
        raise NotApplicable("a count of features bounds no step along a gradient; jsma searches it")

    def project(self, d: Tensor, radius: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
        d = d if low is None else torch.clamp(d, low, high)
        order = d.abs().argsort(dim=1, descending=True, stable=True)
        place = torch.arange(d.shape[1], device=d.device)
        kept = torch.zeros_like(d, dtype=torch.bool).scatter(1, order, place < radius.floor()[:, None])
        return torch.where(kept, d, 0.0)

    def sample(self, keys: Keys, features: int, distribution: str, live: Tensor | None) -> Tensor:
        """Values for all features in random order of size; the projection keeps as many as the budget allows."""
        if distribution == "sign":
            values = keys.sign((features,)) * (1 - 1e-3 * keys.fold("order").uniform((features,)))
        elif distribution == "gaussian":
            values = (keys.normal((features,)) / 2).clamp(-1, 1)
        else:
            values = keys.uniform((features,)) * 2 - 1
        return values if live is None else values * live

    def round(self, d: Tensor, radius: Tensor) -> Tensor:  # noqa: ARG002
        return d.round()
