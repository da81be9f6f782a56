"""Replacing words by candidates: an index for each word, 0 keeps it. The budget is a number of words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from adversarial.errors import DataError, InvalidThreat
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.spaces.norms import check_distribution
from adversarial.threats import Threat


NO_WORD = -1  # pads a list of candidates


@dataclass(frozen=True, slots=True)
class Choices:
    """At most `radius` positions of each row replaced by one of their candidates.

    table: int64 [batch, positions, choices]; column 0 holds the original, NO_WORD fills short lists.
    """

    inputs: Inputs
    radius: Tensor
    table: Tensor

    def __post_init__(self) -> None:
        if self.table.shape[:2] != self.inputs.values.shape:
            raise DataError(
                f"candidates for [batch, positions] = {list(self.inputs.values.shape)} expected, "
                f"got a table of {list(self.table.shape)}"
            )

    def null(self) -> Tensor:
        return torch.zeros_like(self.inputs.values)

    def sizes(self) -> Tensor:
        sizes = (self.table != NO_WORD).sum(2)
        return sizes if self.inputs.mask is None else torch.where(self.inputs.mask, sizes, 1)

    def candidates(self) -> Tensor:
        return self.table

    def sample(self, keys: Keys, distribution: str = "uniform") -> Tensor:
        """As many positions as the budget allows, each with a random candidate, whatever the distribution."""
        check_distribution(distribution)
        sizes = self.sizes()
        choice = 1 + keys.fold("choice").integers(sizes.shape[1:], (sizes - 1).clamp(min=1))
        order = torch.where(sizes > 1, keys.fold("position").uniform(sizes.shape[1:]), 2.0)
        chosen = _rank(order) < self._limit()[:, None]
        return torch.where(chosen & (sizes > 1), choice, 0)

    def project(self, d: Tensor) -> Tensor:
        """Choices that do not exist are undone, then the rightmost ones that exceed the budget."""
        sizes = self.sizes()
        d = torch.where((d >= 0) & (d < sizes), d, 0)
        changed = d != 0
        return torch.where(changed & (changed.cumsum(1) <= self._limit()[:, None]), d, 0)

    def apply(self, d: Tensor) -> Inputs:
        return Inputs(self.table.gather(2, d[:, :, None]).squeeze(2), self.inputs.mask)

    def distance(self, inputs: Inputs) -> Tensor:
        """The number of replaced positions; inf where a replacement is not a candidate of its position."""
        changed = inputs.values != self.inputs.values
        allowed = (inputs.values[:, :, None] == self.table).any(2) & (inputs.values != NO_WORD)
        count = changed.sum(1).to(torch.float64)
        return torch.where((changed & ~allowed).any(1), torch.inf, count)

    def tolerance(self) -> Tensor:
        return torch.zeros(len(self.inputs), dtype=torch.float64, device=self.radius.device)

    def intact(self, inputs: Inputs) -> Tensor:
        values, mask = self.inputs.values, self.inputs.mask
        if inputs.values.shape != values.shape or (inputs.mask is None) != (mask is None):
            return torch.zeros(len(values), dtype=torch.bool, device=values.device)
        if mask is None or inputs.mask is None:
            return torch.ones(len(values), dtype=torch.bool, device=values.device)
        return ((inputs.values == values) | mask).all(1) & (inputs.mask == mask).all(1)

    def mutate(self, d: Tensor, keys: Keys) -> Tensor:
        sizes = self.sizes()
        order = torch.where(sizes > 1, keys.fold("position").uniform(sizes.shape[1:]), 2.0)
        here = (_rank(order) == 0) & (sizes > 1)
        choice = 1 + keys.fold("choice").integers(sizes.shape[1:], (sizes - 1).clamp(min=1))
        moved = torch.where(here, choice, d)
        # Over budget, one of the older replacements goes.
        age = torch.where((moved != 0) & ~here, keys.fold("drop").uniform(sizes.shape[1:]), 2.0)
        over = (moved != 0).sum(1) > self._limit()
        moved = torch.where(over[:, None] & (_rank(age) == 0) & ~here, 0, moved)
        return torch.where(self._limit()[:, None] > 0, moved, 0)

    def norm(self, d: Tensor) -> Tensor:
        return (d != 0).sum(1).to(torch.float32)

    def take(self, rows: Tensor) -> Self:
        table = self.table.index_select(0, rows)
        return replace(self, inputs=self.inputs.take(rows), radius=self.radius[rows], table=table)

    def with_budget(self, radius: Tensor) -> Self:
        return replace(self, radius=radius)

    def _limit(self) -> Tensor:
        return self.radius.clamp(max=float(self.inputs.values.shape[1])).floor().to(torch.int64)


def words(inputs: Inputs, threat: Threat, table: Tensor) -> Choices:
    """Word ids, int64 [batch, words] with a mask, and their candidates, int64 [batch, words, choices]."""
    if threat.surface not in ("words", "characters"):
        raise InvalidThreat(f"expected a threat like words-l0:3, got {threat}")
    radius = torch.full((len(inputs),), threat.radius, dtype=torch.float32, device=inputs.values.device)
    exists = table != NO_WORD
    if not torch.equal(table[:, :, 0], inputs.values) or bool((exists[:, :, 1:] & ~exists[:, :, :-1]).any()):
        raise DataError("a table of candidates needs the original word in column 0 and NO_WORD after the last one only")
    return Choices(inputs, radius, table)


def _rank(order: Tensor) -> Tensor:
    """The place of each entry in its row, smallest first; ties go to the left."""
    return order.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
