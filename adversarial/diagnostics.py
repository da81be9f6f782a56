"""Reasons to distrust a measurement, collected while it runs (after Carlini et al. 2019,
https://arxiv.org/abs/1902.06705, and Pintor et al. 2021, https://arxiv.org/abs/2106.09947).

Every threshold stands here, once. A finding that is `invalid` takes the number off the ranking; `suspect` marks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from adversarial.best import Best
from adversarial.inputs import Scores


ZERO_GRADIENT_SHARE: Final = 0.05
FLAT_LOSS_SHARE: Final = 0.10
ZERO_PERTURBATION_SHARE: Final = 0.50
BATCH_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Finding:
    """One diagnostic that fired."""

    name: str
    severity: Literal["suspect", "invalid"]
    detail: str


@dataclass(slots=True)
class Trace:
    """Counts over all the batches (and time steps) of a cell, in rows.

    rows: attacked rows that were not done before the attack began to move. searched: of these, rows with two or more
    gradients.
    """

    rows: int = 0
    with_gradients: int = 0
    all_zero_gradients: int = 0
    broken_gradients: int = 0
    searched: int = 0
    flat_losses: int = 0
    unmoved: int = 0
    broken_scores: int = 0
    batch_gap: float = 0.0

    def add_search(self, best: Best, distance: Tensor) -> None:
        """Adds a finished search: its traces, and the audited distance of each row, float64 [batch]."""
        # A row that is done at its first look never needed to move.
        fresh = ~best.done | (best.asked_at_success > 1)
        asked = best.gradients > 0
        searched = fresh & (best.gradients > 1)
        self.rows += int(fresh.sum())
        self.with_gradients += int((fresh & asked).sum())
        self.all_zero_gradients += int((fresh & asked & (best.zero_gradients == best.gradients)).sum())
        self.broken_gradients += int((best.broken_gradients > 0).sum())
        self.searched += int(searched.sum())
        self.flat_losses += int((searched & ~best.success & (best.top_loss <= best.first_loss)).sum())
        self.unmoved += int((fresh & (distance == 0)).sum())

    def add_scores(self, scores: Scores) -> None:
        """Adds the victim's answers to the final inputs."""
        self.broken_scores += int((~scores.finite()).sum())

    def add_batch_gap(self, together: Scores, row: int, alone: Scores) -> None:
        """Compares one row's scores in a batch with the same row's alone, in shares of their own size."""
        a = together.values[row] if together.mask is None else together.values[row][together.mask[row]]
        b = alone.values[0] if alone.mask is None else alone.values[0][alone.mask[0]]
        if a.shape != b.shape:
            self.batch_gap = float("inf")
            return
        size = b.abs().amax().clamp(min=1.0)
        gap = torch.nan_to_num((a - b).abs().amax() / size, nan=float("inf"))
        self.batch_gap = max(self.batch_gap, float(gap))

    def findings(self, moves: bool) -> tuple[Finding, ...]:
        """What fires. moves: whether the attack had a budget to use (false for the clean pass and a budget of 0)."""
        found = []
        if self.broken_scores:
            found.append(
                Finding("non-finite-scores", "invalid", f"{self.broken_scores} rows of scores hold NaN or inf")
            )
        if self.batch_gap > BATCH_TOLERANCE:
            found.append(
                Finding(
                    "batched-not-single",
                    "invalid",
                    f"a row's scores alone and in a batch differ by {self.batch_gap:.2g} of their size",
                )
            )
        if self.broken_gradients:
            found.append(
                Finding(
                    "non-finite-gradients",
                    "suspect",
                    f"{self.broken_gradients} rows met NaN or inf gradients",
                )
            )
        if self.all_zero_gradients > ZERO_GRADIENT_SHARE * max(self.with_gradients, 1):
            found.append(
                Finding(
                    "zero-gradients",
                    "suspect",
                    f"{self.all_zero_gradients} of {self.with_gradients} rows saw only zero gradients",
                )
            )
        if self.flat_losses > FLAT_LOSS_SHARE * max(self.searched, 1):
            found.append(
                Finding(
                    "loss-not-rising",
                    "suspect",
                    f"the loss of {self.flat_losses} of {self.searched} rows never rose",
                )
            )
        if moves and self.unmoved > ZERO_PERTURBATION_SHARE * max(self.rows, 1):
            found.append(
                Finding(
                    "zero-perturbation",
                    "suspect",
                    f"{self.unmoved} of {self.rows} rows were not changed at all",
                )
            )
        return tuple(found)
