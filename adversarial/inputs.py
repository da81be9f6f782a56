"""What victims read and answer: a batch of values, with a mask where rows differ in length."""

from __future__ import annotations

from collections.abc import Sequence
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

    def alone(self, row: int) -> Inputs:
        """One row as a batch of its own, without the padding at its end, which it needs only in company."""
        if self.mask is None:
            return Inputs(self.values[row : row + 1])
        length = length_of(self.mask[row])
        return Inputs(self.values[row : row + 1, :length], self.mask[row : row + 1, :length])


def length_of(mask: Tensor) -> int:
    """How many positions there are up to a row's last real one, at least 1; mask: bool [positions].

    Padding may lie before and between real positions as well, and there it stays.
    """
    real = mask.nonzero()
    return int(real[-1]) + 1 if len(real) else 1


@dataclass(frozen=True, slots=True)
class Scores:
    """A victim's answer.

    values: logits, float32 [batch, classes], or one row of logits a frame, [batch, frames, symbols]; -inf for what is
    never decided.
    mask: bool [batch, frames], True where a frame is real; None for class decisions.
    reader: where `values` are no logits but what a model goes on from, the part of it that makes decisions of them;
    which goals can use it is the task's affair.
    """

    values: Tensor
    mask: Tensor | None = None
    reader: object | None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Tensor) -> Scores:
        """Some rows, by index; int64 [rows]."""
        return Scores(self.values[rows], None if self.mask is None else self.mask[rows], self.reader)

    def detach(self) -> Scores:
        return Scores(self.values.detach(), self.mask, self.reader)

    def finite(self) -> Tensor:
        """bool [batch]: whether a row can be decided: no score is NaN or inf, and one of each decision is not -inf."""
        if self.reader is not None:
            return torch.isfinite(self.values).flatten(1).all(1)
        # The largest score tells it all, since NaN and inf win.
        decided = torch.isfinite(self.values.amax(-1))
        return decided if decided.ndim == 1 else decided.flatten(1).all(1)


def joined(parts: Sequence[Scores]) -> Scores:
    """The answers to several batches of the same shape, one after the other."""
    if len(parts) == 1:
        return parts[0]
    masks = [part.mask for part in parts if part.mask is not None]
    return Scores(torch.cat([part.values for part in parts]), torch.cat(masks) if masks else None, parts[0].reader)
