"""A ball of a norm inside a box, around each row of a batch: the space of every continuous surface."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.spaces.norms import Geometry, check_distribution
from adversarial.spaces.sparse import L0, L1


@dataclass(frozen=True, slots=True)
class Ball:
    """The inputs within `radius` of each row, inside the box [low, high].

    scale: what one unit of distance is on each feature, broadcast against one row; None means 1.
    low, high: the input range, broadcast against one row; None where it is open.
    relative: distances are divided by the row's own norm (signal-to-noise ratios).
    quantum: inputs lie on multiples of it (16-bit samples: 1/32768); 0 means anywhere.
    rising: whether features may only grow, as where an attacker may add to a program and take nothing away.
    """

    inputs: Inputs
    radius: Tensor
    geometry: Geometry
    scale: Tensor | None = None
    low: Tensor | None = None
    high: Tensor | None = None
    relative: bool = False
    quantum: float = 0.0
    rising: bool = False
    # Derived from the inputs once a batch, not once a step, and only where asked for: each row's own norm, and what
    # _room and _walls below give.
    _own: Tensor | None = field(default=None, repr=False)
    _known_room: tuple[Tensor, Tensor] | None = field(default=None, repr=False)
    _known_walls: tuple[Tensor, Tensor] | None = field(default=None, repr=False)
    _walled: bool | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self._own is None and (self.relative or self.geometry.coupled):
            object.__setattr__(self, "_own", self._own_norm().to(torch.float32))
        if self._walled is None:
            # Without a bound, only the input range is left, whatever the norm.
            object.__setattr__(self, "_walled", self._is_cube() or bool(torch.isinf(self.radius).all()))

    def null(self) -> Tensor:
        return torch.zeros_like(self.inputs.values)

    def sample(self, keys: Keys, distribution: str = "uniform") -> Tensor:
        check_distribution(distribution)
        features = self.inputs.values[0].numel()
        live, limit = self._live(), self._limit()
        real = None if live is None else live.flatten(1)
        if isinstance(self.geometry, L0):  # a count says nothing about the size of a change: the range does
            sides = (None, None) if self._room is None else (self._rows(self._room[0]), self._rows(self._room[1]))
            changed = self.geometry.scatter(keys, limit, features, distribution, real, *sides)
            return self.project(self._shaped(changed))
        unit = self.geometry.sample(keys, features, distribution, real)
        length = torch.where(torch.isinf(limit), 1.0, limit)
        return self.project(self._shaped(unit * length[:, None]))

    def project(self, d: Tensor) -> Tensor:
        live, limit = self._live(), self._limit()
        if live is not None:
            d = d * live
        if self._walls is not None:
            return torch.clamp(d, *self._walls)
        if self.geometry.coupled and self._own is not None:
            # Rounding x + d to float32 moves each feature by up to 2^-24 of its size; the ball gives way to that, so
            # that an honest perturbation on its surface passes the audit.
            limit = (limit * (1 - 1e-6) - 2.0**-24 * self._own).clamp(min=0)
        if self._room is None:
            return self._shaped(self.geometry.project(self._rows(d), limit, None, None))
        low, high = self._room
        projected = self._shaped(self.geometry.project(self._rows(d), limit, self._rows(low), self._rows(high)))
        return projected if self.scale is None else torch.clamp(projected, low, high)

    def apply(self, d: Tensor) -> Inputs:
        values, mask = self.inputs.values, self.inputs.mask
        if not self.quantum:
            return Inputs(values + d, mask)
        on_grid = self._on_grid(d.detach())
        return Inputs(values + (d + (on_grid - d.detach()) if d.requires_grad else on_grid), mask)

    def distance(self, inputs: Inputs) -> Tensor:
        values = self.inputs.values.to(torch.float64)
        moved = self._rows(inputs.values.to(torch.float64) - values)
        length = self.geometry.measure(moved)
        if self.relative:
            length = torch.where(length == 0, 0.0, length / self._own_norm())  # silence cannot be disturbed: inf
        if self._room is None:
            return length
        low, high = self._margins(values)
        slack = self._slack(values)
        outside = (moved < self._rows(low) - slack) | (moved > self._rows(high) + slack)
        return torch.where(outside.any(1), torch.inf, length)

    def tolerance(self) -> Tensor:
        if not self.relative:  # a count is exact, and a millionth of a wide range may be more than 1
            least = self._span() * (1e-6 if self.geometry.convex else 0.0)
            if self.scale is None:
                return least
            # Where the unit is tiny on one feature the range is vast in units: that must not swallow the budget of all.
            return torch.minimum(least, (1e-2 * self.radius.to(torch.float64)).clamp(min=1e-6))
        own = self._own_norm()
        return torch.where(own > 0, 1e-6 * self._span() / own.clamp(min=1e-12), 0.0)

    def intact(self, inputs: Inputs) -> Tensor:
        values, mask = self.inputs.values, self.inputs.mask
        if inputs.values.shape != values.shape or (inputs.mask is None) != (mask is None):
            return torch.zeros(len(values), dtype=torch.bool, device=values.device)
        live = self._live()
        if live is None or mask is None or inputs.mask is None:
            return torch.ones(len(values), dtype=torch.bool, device=values.device)
        still = ((inputs.values == values) | live).flatten(1).all(1)
        return still & (inputs.mask == mask).flatten(1).all(1)

    @property
    def sparse(self) -> bool:
        return isinstance(self.geometry, L1)

    @property
    def convex(self) -> bool:
        return self.geometry.convex

    def steepest(self, gradient: Tensor, at: Tensor | None = None, spread: Tensor | None = None) -> Tensor:
        live = self._live()
        gradient = gradient if live is None else gradient * live
        if at is not None and self._room is not None and self.geometry.coupled:
            low, high = self._room
            gradient = gradient * ~(((at <= low) & (gradient < 0)) | ((at >= high) & (gradient > 0)))
        # In scaled coordinates u = d / scale the gradient is g * scale, and the step goes back by * scale.
        scaled = gradient if self.scale is None else gradient * self.scale
        rows = scaled.flatten(1)
        if spread is not None and isinstance(self.geometry, L1):
            step = self.geometry.sparse_step(rows, spread).reshape(gradient.shape)
        else:
            step = self.geometry.steepest(rows).reshape(gradient.shape)
        step = step if self.scale is None else step * self.scale
        if not self.relative or self._own is None:
            return step
        return step * self._own.reshape(-1, *[1] * (gradient.ndim - 1))

    def step(self, d: Tensor, gradient: Tensor, length: Tensor) -> Tensor:
        if self.sparse and self._room is not None:
            return self.project(d + self._fill(d, gradient, length, self._room))
        lengths = length.reshape(-1, *[1] * (d.ndim - 1))
        if self._walls is not None and self._is_cube() and self.inputs.mask is None:
            # The same as below in half the passes over d: this line runs at every step of most attacks.
            return torch.clamp(torch.addcmul(d, gradient.sign(), lengths), *self._walls)
        return self.project(d + lengths * self.steepest(gradient, d))

    def _fill(self, d: Tensor, gradient: Tensor, length: Tensor, room: tuple[Tensor, Tensor]) -> Tensor:
        """The steepest step inside the input range where the steepest single feature has not room for all of it: the
        features in the order of their gain, each as far as its wall, until the length is used up."""
        live = self._live()
        slope = self._rows(gradient if live is None else gradient * live)
        if self.scale is not None:
            slope = slope * self._rows(self.scale.expand_as(gradient).square())
        free = self._rows(torch.where(gradient > 0, room[1] - d, d - room[0])).clamp(min=0)
        free = torch.where(torch.isinf(free), length[:, None], free)  # no feature moves further than that
        order = slope.abs().argsort(dim=1, descending=True, stable=True)
        free = torch.where(slope == 0, 0.0, free).gather(1, order)
        before = free.cumsum(1) - free
        moved = torch.minimum(free, (length[:, None] - before).clamp(min=0))
        return self._shaped(torch.zeros_like(moved).scatter(1, order, moved) * slope.sign())

    def norm(self, d: Tensor) -> Tensor:
        length = self.geometry.measure(self._rows(d))
        if not self.relative or self._own is None:
            return length
        return torch.where(length == 0, 0.0, length / self._own)

    def bounds(self) -> tuple[Tensor, Tensor] | None:
        return self._room

    def take(self, rows: Tensor) -> Self:
        walls = self._walls
        return replace(
            self,
            inputs=self.inputs.take(rows),
            radius=self.radius[rows],
            _own=None if self._own is None else self._own[rows],
            # Where there are walls the room is seldom asked for, and rows leave at every step.
            _known_room=_rows_of(self._room, rows) if walls is None else None,
            _known_walls=_rows_of(walls, rows),
        )

    def with_budget(self, radius: Tensor) -> Self:
        return replace(self, radius=radius, _known_walls=None, _walled=None)

    @property
    def _room(self) -> tuple[Tensor, Tensor] | None:
        """The lowest and the highest d that the input range admits; None where it is open."""
        if self._known_room is None and not self._open():
            object.__setattr__(self, "_known_room", self._margins(self.inputs.values.detach()))
        return self._known_room

    @property
    def _walls(self) -> tuple[Tensor, Tensor] | None:
        """The lowest and the highest d that range and radius admit, where features do not share the budget."""
        if self._known_walls is None and self._walled:
            object.__setattr__(self, "_known_walls", self._cube())
        return self._known_walls

    def _is_cube(self) -> bool:
        """Whether ball and box together are just a lowest and a highest d for each feature."""
        return (
            not self.geometry.coupled
            and getattr(self.geometry, "convex", True)
            and self.scale is None
            and not self.relative
        )

    def _cube(self) -> tuple[Tensor, Tensor]:
        values = self.inputs.values
        radius = self.radius.to(values.dtype).reshape(-1, *[1] * (values.ndim - 1))
        if self._open():
            return (-radius).expand_as(values), radius.expand_as(values)
        low, high = self._margins(values.detach()) if self._known_room is None else self._known_room
        return torch.maximum(low, -radius), torch.minimum(high, radius)

    def _open(self) -> bool:
        """Whether features may lie anywhere."""
        return self.low is None and self.high is None and not self.rising

    def _limit(self) -> Tensor:
        """The radius in units of the geometry, [batch]."""
        if not self.relative or self._own is None:
            return self.radius
        return torch.where(torch.isinf(self.radius), self.radius, self.radius * self._own)  # not inf * 0 in silence

    def _own_norm(self) -> Tensor:
        """The norm of each undisturbed row without its padding, float64 [batch]."""
        values, live = self.inputs.values.detach().to(torch.float64), self._live()
        return self.geometry.measure(self._rows(values if live is None else values * live))

    def _margins(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and highest d that the input range admits at values, 0 included: a row outside of the range may
        stay where it is."""
        low = torch.full_like(values, -torch.inf) if self.low is None else (self.low - values).clamp_(max=0)
        low = torch.zeros_like(low) if self.rising else low
        high = torch.full_like(values, torch.inf) if self.high is None else (self.high - values).clamp_(min=0)
        return low, high

    def _slack(self, values: Tensor) -> Tensor:
        """What rounding may do at the ends of the input range, in units of distance; [batch or 1, features or 1]."""
        span = self._span()[:, None]
        if self.scale is None or self.low is None or self.high is None:
            return 1e-6 * span
        own = self._rows((self.high - self.low).to(torch.float64).expand_as(values[:1]))
        return 1e-6 * torch.where(torch.isfinite(own), own, span)

    def _span(self) -> Tensor:
        """The input range in units of distance; where it is open, the size of what may lie in it; float64 [batch]."""
        values = self.inputs.values.detach().to(torch.float64)
        reached = torch.where(torch.isinf(self.radius), 0.0, self.radius)
        size = (self._rows(values).abs().amax(1) + reached).clamp(min=1)
        if self.low is None or self.high is None:
            return size
        span = self._rows((self.high - self.low).to(torch.float64).expand_as(values[:1])).amax(1)
        return torch.where(torch.isfinite(span), span, size)

    def _rows(self, values: Tensor) -> Tensor:
        return (values if self.scale is None else values / self.scale).flatten(1)

    def _shaped(self, rows: Tensor) -> Tensor:
        d = rows.reshape(self.inputs.values.shape)
        return d if self.scale is None else d * self.scale

    def _live(self) -> Tensor | None:
        """The mask, broadcast against the values; None where every feature is real."""
        values, mask = self.inputs.values, self.inputs.mask
        if mask is None:
            return None
        return mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim)).expand_as(values)

    def _on_grid(self, d: Tensor) -> Tensor:
        """The perturbation that survives rounding the inputs to the grid, inside the ball where d is."""
        steps = (d / self.quantum).flatten(1)
        return (self.geometry.round(steps, self._limit() / self.quantum) * self.quantum).reshape(d.shape)


def _rows_of(pair: tuple[Tensor, Tensor] | None, rows: Tensor) -> tuple[Tensor, Tensor] | None:
    return None if pair is None else (pair[0].index_select(0, rows), pair[1].index_select(0, rows))
