"""The best perturbation of each row so far, and what the search looked like on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class Best:
    """One row a row of the whole batch, written in place: this runs at every step of every attack.

    d: [batch, ...]. success, known, done: bool [batch]; known means that d was seen by the victim. damage, loss:
    float32 [batch]. asked: int64 [batch], answers that the row has used; asked_at_success: its value at the first
    success, -1 before. The rest feeds the diagnostics: first_loss, top_loss float32 [batch]; gradients,
    zero_gradients, broken_gradients, broken_scores: int64 [batch].
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
    broken_scores: Tensor

    @classmethod
    def start(cls, null: Tensor) -> Best:
        def full(value: float, dtype: torch.dtype) -> Tensor:
            return torch.full((len(null),), value, dtype=dtype, device=null.device)

        return cls(
            d=null.clone(),
            success=full(0, torch.bool),
            known=full(0, torch.bool),
            done=full(0, torch.bool),
            damage=full(-torch.inf, torch.float32),
            loss=full(-torch.inf, torch.float32),
            asked=full(0, torch.int64),
            asked_at_success=full(-1, torch.int64),
            first_loss=full(torch.nan, torch.float32),
            top_loss=full(-torch.inf, torch.float32),
            gradients=full(0, torch.int64),
            zero_gradients=full(0, torch.int64),
            broken_gradients=full(0, torch.int64),
            broken_scores=full(0, torch.int64),
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
        if repeated:
            self.top_loss.scatter_reduce_(0, rows, loss, "amax")
            chosen = _best_of_each(rows, success, damage, loss)
            rows, d = rows[chosen], d.index_select(0, chosen)
            success, damage, loss, done = success[chosen], damage[chosen], loss[chosen], done[chosen]
        else:
            self.top_loss[rows] = torch.maximum(self.top_loss[rows], loss)
        old_success, old_damage, old_loss = self.success[rows], self.damage[rows], self.loss[rows]
        higher = (damage > old_damage) | ((damage == old_damage) & (loss > old_loss))
        better = torch.where(success == old_success, higher, success)
        known = self.known[rows]
        if not bool(known.all()):
            better = better | ~known
            self.first_loss[rows] = torch.where(known, self.first_loss[rows], loss)
            self.known[rows] = True
        self._keep(rows, d, damage, loss, better)
        if bool(success.any()):
            fresh = rows[success & ~old_success]
            self.asked_at_success[fresh] = torch.where(
                self.asked_at_success[fresh] < 0, self.asked[fresh], self.asked_at_success[fresh]
            )
            self.success[fresh] = True
            self.done[rows] |= done

    def note_scores(self, rows: Tensor, finite: Tensor) -> None:
        """Counts answers that are no decision; finite: bool, a value a row of rows."""
        if not bool(finite.all()):
            self.broken_scores.index_add_(0, rows, (~finite).to(torch.int64))

    def note_gradients(self, rows: Tensor, zero: Tensor, broken: Tensor) -> None:
        """Counts gradients that are exactly zero and gradients that are not finite; bool, a value a row of rows."""
        self.gradients.index_add_(0, rows, torch.ones_like(rows))
        self.zero_gradients.index_add_(0, rows, zero.to(torch.int64))
        self.broken_gradients.index_add_(0, rows, broken.to(torch.int64))

    def _keep(self, rows: Tensor, d: Tensor, damage: Tensor, loss: Tensor, better: Tensor) -> None:
        if not bool(better.all()):
            chosen = better.nonzero().squeeze(1)
            rows, d = rows[chosen], d.index_select(0, chosen)
            damage, loss = damage[chosen], loss[chosen]
        if len(rows) == len(self.d):
            # Rows are in order wherever a view holds all of them, and one pass copies them.
            in_order = bool((rows[1:] > rows[:-1]).all())
            self.d.copy_(d) if in_order else self.d.index_copy_(0, rows, d)
        else:
            self.d.index_copy_(0, rows, d)
        self.damage[rows] = damage
        self.loss[rows] = loss


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
