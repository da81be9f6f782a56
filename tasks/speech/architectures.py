"""A further architecture for spoken digits, for models that users bring: a recurrent CTC model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import rnn

from tasks.speech.features import LogMel
from tasks.speech.transcripts import SYMBOLS


class RecurrentCTC(nn.Module):
    """Gated recurrent layers in both directions (Graves & Schmidhuber 2005; Cho et al. 2014) over pairs of frames.

    Layers run over an utterance's own frames only, so that padding does not change a row. A frame of the output lasts
    20 ms and has seen the whole utterance.
    """

    def __init__(self, width: int = 96, layers: int = 2) -> None:
        super().__init__()
        self.front = LogMel()
        self.entry = nn.Linear(2 * self.front.basis.shape[1], width)
        self.recurrent = nn.GRU(width, width, layers, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, SYMBOLS)

    def forward(self, samples: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, float [batch, frames, symbols], and which frames are real, bool [batch, frames].

        samples: float [batch, samples] in [-1, 1). mask: bool [batch, samples].
        """
        frames, valid = self.front(samples, mask)
        frames = functional.pad(frames * valid[:, :, None], (0, 0, 0, frames.shape[1] % 2))
        pairs = functional.silu(self.entry(frames.unflatten(1, (-1, 2)).flatten(2)))  # type: ignore[no-untyped-call]
        lengths = (valid.sum(1) + 1) // 2
        packed = rnn.pack_padded_sequence(pairs, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=pairs.shape[1])
        logits: Tensor = self.head(states)
        return logits, torch.arange(pairs.shape[1], device=logits.device) < lengths[:, None]


FURTHER: Final[dict[str, Callable[..., nn.Module]]] = {"recurrent-ctc": RecurrentCTC}
