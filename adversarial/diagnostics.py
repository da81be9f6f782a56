"""Reasons to distrust a measurement, collected while it runs (after Carlini et al. 2019,
https://arxiv.org/abs/1902.06705, and Pintor et al. 2021, https://arxiv.org/abs/2106.09947).

Every threshold stands here, once. A finding of either severity takes the number off the ranking.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from adversarial.best import Best
from adversarial.inputs import Inputs, Scores
from adversarial.victims import Victim, ask


ZERO_GRADIENT_SHARE: Final = 0.05
FLAT_LOSS_SHARE: Final = 0.20
LOST_SUCCESS_SHARE: Final = 0.05
ZERO_PERTURBATION_SHARE: Final = 0.50
TOLERANCE: Final = 1e-3  # of scores' size, between two ways to the same answer; half precision rounds to half of that


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
    broken_on_the_way: int = 0
    successes: int = 0
    lost_successes: int = 0
    batch_gap: float = 0.0
    repeat_gap: float = 0.0
    gradient_gap: float = 0.0

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
        self.broken_on_the_way += int((best.broken_scores > 0).sum())

    def add_verdicts(self, searched: Tensor, judged: Tensor) -> None:
        """Compares the rows that a search was done with, bool [batch], with those that are when judged."""
        self.successes += int(searched.sum())
        self.lost_successes += int((searched & ~judged).sum())

    def add_scores(self, scores: Scores) -> None:
        """Adds the victim's answers to the final inputs."""
        self.broken_scores += int((~scores.finite()).sum())

    def add_batch_gap(self, together: Scores, row: int, alone: Scores) -> None:
        """Compares one row's scores in a batch with the same row's alone."""
        self.batch_gap = max(self.batch_gap, _gap(_real(together, row), _real(alone, 0)))

    def look(self, victim: Victim, inputs: Inputs, answered: Scores) -> None:
        """Asks for answers that the victim has given once more: a row alone, all again, all in reverse, and with
        gradients on.

        What a victim says must depend on what it reads and on nothing else: neither on the rest of the batch, nor on
        chance, nor on whether somebody follows its gradients.
        """
        self.add_batch_gap(answered, 0, _alone(victim, inputs))
        self.repeat_gap = max(self.repeat_gap, _gap(answered, ask(victim, inputs)))
        if len(inputs) > 1:
            back = torch.arange(len(inputs) - 1, -1, -1, device=inputs.values.device)
            self.batch_gap = max(self.batch_gap, _gap(answered, ask(victim, inputs.take(back)).take(back)))
        if not victim.differentiable:
            return
        copy = inputs.clone()
        with torch.enable_grad():
            # Not a leaf: victims may write into what they read.
            values = copy.values.requires_grad_() * 1 if copy.values.is_floating_point() else copy.values
            followed = victim(Inputs(values, copy.mask)).detach()
        self.gradient_gap = max(self.gradient_gap, _gap(answered, followed))

    def findings(self, moves: bool) -> tuple[Finding, ...]:
        """What fires. moves: whether the attack had a budget to use (false for the clean pass and a budget of 0)."""
        found = []
        if self.broken_scores:
            found.append(
                Finding("non-finite-scores", "invalid", f"{self.broken_scores} rows of scores hold NaN or inf")
            )
        if self.batch_gap > TOLERANCE:
            found.append(
                Finding(
                    "batched-not-single",
                    "invalid",
                    f"a row's scores in other company differ by {self.batch_gap:.2g} of their size",
                )
            )
        if self.repeat_gap > TOLERANCE:
            found.append(
                Finding(
                    "not-deterministic",
                    "invalid",
                    f"two passes on the same inputs differ by {self.repeat_gap:.2g} of the scores' size",
                )
            )
        if self.lost_successes > LOST_SUCCESS_SHARE * max(self.successes, 1):
            found.append(
                Finding(
                    "successes-not-seen-again",
                    "invalid",
                    f"{self.lost_successes} of {self.successes} successes of the search were none when judged",
                )
            )
        if self.broken_on_the_way > ZERO_GRADIENT_SHARE * max(self.rows, 1):
            found.append(
                Finding(
                    "non-finite-scores-on-the-way",
                    "suspect",
                    f"{self.broken_on_the_way} rows met NaN or inf while they were searched",
                )
            )
        if self.gradient_gap > TOLERANCE:
            found.append(
                Finding(
                    "depends-on-gradients",
                    "invalid",
                    f"scores with gradients on and off differ by {self.gradient_gap:.2g} of their size",
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
        if moves and self.flat_losses > FLAT_LOSS_SHARE * max(self.searched, 1):
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


def _alone(victim: Victim, inputs: Inputs) -> Scores:
    """The first row's answer alone: without the padding at its end where the victim reads rows of any length."""
    if inputs.mask is not None:
        with contextlib.suppress(RuntimeError, ValueError, IndexError):
            return ask(victim, inputs.alone(0))
    return ask(victim, inputs.take(torch.zeros(1, dtype=torch.int64, device=inputs.values.device)))


def _real(scores: Scores, row: int) -> Scores:
    """One row without the frames that are not real."""
    values = scores.values[row] if scores.mask is None else scores.values[row][scores.mask[row]]
    return Scores(values[None])


def _gap(first: Scores, second: Scores) -> float:
    """The largest difference between two answers in shares of a row's largest score; inf where their shapes differ.

    A score of -inf in both is answered alike.
    """
    a, b = first.values, second.values
    if a.shape != b.shape:
        return float("inf")
    if first.mask is not None:
        real = first.mask.reshape(*first.mask.shape, *[1] * (a.ndim - first.mask.ndim))
        a, b = torch.where(real, a, 0.0), torch.where(real, b, 0.0)
    size = torch.where(torch.isfinite(b), b, 0.0).abs().flatten(1).amax(1).clamp(min=torch.finfo(b.dtype).tiny)
    difference = torch.where(a == b, 0.0, a - b).abs().flatten(1).amax(1)
    return float(torch.nan_to_num(difference / size, nan=torch.inf).max()) if len(a) else 0.0
