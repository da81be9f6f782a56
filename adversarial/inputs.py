"""What victims read and answer: a batch of values, with a mask where rows differ in length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Inputs:
    """A batch as a victim reads it.

    values: [batch, ...]. Pixels: float [batch, channels, height, width] in [0, 1]. Waveforms: float [batch, samples]
    in [-1, 1). Word ids: int64 [batch, words]. Embeddings: float [batch, words, width]. Observations: float
    [batch, dimensions].
    mask: bool [batch, positions], True where a position is real; None where all rows are whole.
    """

    values: Tensor
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Tensor) -> Inputs:
        """Some rows, by index; int64 [rows], and they may repeat."""
        # index_select, since advanced indexing copies a row several times slower.
        mask = None if self.mask is None else self.mask.index_select(0, rows)
        return Inputs(self.values.index_select(0, rows), mask)

    def detach(self) -> Inputs:
        return Inputs(self.values.detach(), self.mask)

    def clone(self) -> Inputs:
        return Inputs(self.values.detach().clone(), None if self.mask is None else self.mask.clone())

    def to(self, device: torch.device | str) -> Inputs:
        return Inputs(self.values.to(device), None if self.mask is None else self.mask.to(device))

    def same_as(self, other: Inputs) -> bool:
        """Whether both hold the same bytes."""
        masks = (self.mask is None) == (other.mask is None)
        if masks and self.mask is not None and other.mask is not None:
            masks = torch.equal(self.mask, other.mask)
        return masks and torch.equal(self.values, other.values)


@dataclass(frozen=True, slots=True)
class Scores:
    """A victim's answer.

    values: logits, float [batch, classes], or one row of logits a frame, [batch, frames, symbols].
    mask: bool [batch, frames], True where a frame is real; None for class decisions.
    reader: where `values` are no logits but what a model goes on from, the part of it that makes decisions of them;
    which goals can use it is the task's affair.
    """

    values: Tensor
    mask: Tensor | None = None
    reader: object | None = None

    def __len__(self) -> int:
        return len(self.values)

    def detach(self) -> Scores:
        return Scores(self.values.detach(), self.mask, self.reader)

    def finite(self) -> Tensor:
        """bool [batch]: whether all of a row's scores are finite."""
        return torch.isfinite(self.values).flatten(1).all(1)
