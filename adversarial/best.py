"""The best perturbation of each row so far, and what the search looked like on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class Best:
    """One row a row of the whole batch.

    d: [batch, ...]. success, known, done: bool [batch]; known means that d was seen by the victim. damage, loss:
    float32 [batch]. asked: int64 [batch], answers that the row has used; asked_at_success: its value at the first
    success, -1 before. The rest feeds the diagnostics: first_loss, top_loss float32 [batch]; gradients,
    zero_gradients, broken_gradients: int64 [batch].
    """

    d: Tensor
    success: Tensor
    known: Tensor
    done: Tensor
    damage: Tensor
    loss: Tensor
    asked: Tensor
    asked_at_success: Tensor
    first_loss: Tensor
    top_loss: Tensor
    gradients: Tensor
    zero_gradients: Tensor
    broken_gradients: Tensor

    @classmethod
    def start(cls, null: Tensor) -> Best:
        def full(value: float, dtype: torch.dtype) -> Tensor:
            return torch.full((len(null),), value, dtype=dtype, device=null.device)

        no, zero, least = (full(0, torch.bool), full(0, torch.int64), full(-torch.inf, torch.float32))
        return cls(
            d=null.clone(),
            success=no,
            known=no,
            done=no,
            damage=least,
            loss=least,
            asked=zero,
            asked_at_success=full(-1, torch.int64),
            first_loss=full(torch.nan, torch.float32),
            top_loss=least,
            gradients=zero,
            zero_gradients=zero,
            broken_gradients=zero,
        )

    def offer(
        self,
        rows: Tensor,
        d: Tensor,
        success: Tensor,
        damage: Tensor,
        loss: Tensor,
        done: Tensor,
        repeated: bool,
    ) -> None:
        """Keeps d where it beats what is there: success first, then damage, then loss.

        rows: int64, the rows of the whole batch that the others are for; a row may be there several times if
        `repeated`, and then its best candidate counts, the first one where several are equal.
        """
        self._note_losses(rows, loss)
        if repeated:
            chosen = _best_of_each(rows, success, damage, loss)
            rows, d = rows[chosen], d[chosen]
            success, damage, loss, done = success[chosen], damage[chosen], loss[chosen], done[chosen]
        old_success, old_damage, old_loss = self.success[rows], self.damage[rows], self.loss[rows]
        tie = success == old_success
        better = (success & ~old_success) | (tie & (damage > old_damage))
        better = better | (tie & (damage == old_damage) & (loss > old_loss)) | ~self.known[rows]
        shape = (-1, *[1] * (d.ndim - 1))
        self.d = self.d.index_copy(0, rows, torch.where(better.reshape(shape), d, self.d[rows]))
        self.damage = self.damage.index_copy(0, rows, torch.where(better, damage, old_damage))
        self.loss = self.loss.index_copy(0, rows, torch.where(better, loss, old_loss))
        self.success = self.success.index_copy(0, rows, success | old_success)
        self.done = self.done.index_copy(0, rows, done | self.done[rows])
        self.known = self.known.index_fill(0, rows, True)
        first = (success & ~old_success) & (self.asked_at_success[rows] < 0)
        self.asked_at_success = self.asked_at_success.index_copy(
            0, rows, torch.where(first, self.asked[rows], self.asked_at_success[rows])
        )

    def note_gradients(self, rows: Tensor, zero: Tensor, broken: Tensor) -> None:
        """Counts gradients that are exactly zero and gradients that are not finite; bool, a value a row of rows."""
        ones = torch.ones_like(rows)
        self.gradients = self.gradients.index_add(0, rows, ones)
        self.zero_gradients = self.zero_gradients.index_add(0, rows, zero.to(torch.int64))
        self.broken_gradients = self.broken_gradients.index_add(0, rows, broken.to(torch.int64))

    def _note_losses(self, rows: Tensor, loss: Tensor) -> None:
        self.top_loss = self.top_loss.scatter_reduce(0, rows, loss, "amax")
        here = self.first_loss.scatter_reduce(0, rows, loss, "amax", include_self=False)
        self.first_loss = torch.where(torch.isnan(self.first_loss), here, self.first_loss)


def first_of_each(rows: Tensor) -> Tensor:
    """The index of each row's first appearance."""
    order = rows.argsort(stable=True)
    starts = torch.ones_like(order, dtype=torch.bool)
    starts[1:] = rows[order][1:] != rows[order][:-1]
    return order[starts]


def _best_of_each(rows: Tensor, success: Tensor, damage: Tensor, loss: Tensor) -> Tensor:
    """The index of each row's best candidate: stable sorts by the least important key first."""
    order = torch.arange(len(rows), device=rows.device).flip(0)  # reversed, so that the first of equals comes last
    for key in (loss, damage, success.to(torch.int64), rows):
        order = order[key[order].argsort(stable=True)]
    ends = torch.ones_like(order, dtype=torch.bool)
    ends[:-1] = rows[order][1:] != rows[order][:-1]
    return order[ends]
