"""Architectures for reviews, by the name that a card gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import rnn

from tasks.sentiment.architectures import FURTHER
from tasks.sentiment.dataset import load_split
from tasks.sentiment.spelling import checksum, spelling
from tasks.sentiment.tokens import tokenise
from tasks.sentiment.words import bundled


class ReviewNet(nn.Module):
    """Word vectors from spelling, a recurrent layer in both directions, the largest and the mean of each state.

    A word's vector is the mean of its n-grams' vectors and, for the `known` words of the training split, one of its
    own, so that a misspelt word stays near the right one. The recurrent layer carries a negation on to the word that
    it turns. Reads ids, int64 [batch, words], or vectors, float [batch, words, width]; answers logits [batch, 2].
    Padding is never read: rows do not meet.
    """

    vocabulary: Tensor

    def __init__(
        self,
        width: int = 48,
        hidden: int = 64,
        buckets: int = 8192,
        known: int = 0,
        dropout: float = 0.3,
        word_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self._buckets, self._dropout, self._word_dropout = buckets, dropout, word_dropout
        self.grams = nn.EmbeddingBag(buckets, width, mode="mean")
        self.own = nn.Embedding(known + 1, width)  # the last one is of all words that training never saw: zero
        self.recurrent = nn.GRU(width, hidden, batch_first=True, bidirectional=True)
        self.head = nn.Linear(4 * hidden, 2)
        # Checksums of the known words in ascending order; with the weights, so that no other file is needed.
        self.register_buffer("vocabulary", torch.arange(known, dtype=torch.int64))
        nn.init.normal_(self.grams.weight, std=0.05)  # small, so that n-grams never trained say little
        nn.init.zeros_(self.own.weight)

    def embed(self, ids: Tensor) -> Tensor:
        """The vectors of word ids, [..., width] for ids [...]; zero for padding."""
        distinct, places = torch.unique(ids, return_inverse=True)
        words = spelling(bundled(), self._buckets)
        grams, offsets = words.bags(distinct.cpu())
        vectors: Tensor = self.grams(grams.to(ids.device), offsets.to(ids.device))
        unseen = len(self.vocabulary)
        if unseen:
            sums = words.checksums(distinct.cpu()).to(ids.device)
            rows = torch.searchsorted(self.vocabulary, sums).clamp(max=unseen - 1)
            rows = torch.where(self.vocabulary[rows] == sums, rows, unseen)
            vectors = vectors + self.own(rows) * (rows < unseen)[:, None]
        return vectors[places]

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        vectors = values if values.is_floating_point() else self.embed(values)
        real = torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device) if mask is None else mask
        states = self._read(self._drop_words(vectors), real.sum(1))
        states = functional.dropout(states, self._dropout, self.training)
        largest = states.masked_fill(~real[:, :, None], -torch.inf).amax(1)
        mean = (states * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)
        pooled = functional.dropout(torch.cat([largest, mean], 1), self._dropout, self.training)
        logits: Tensor = self.head(pooled)
        return logits

    def _read(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """The states of both directions at each word, [batch, words, 2 hidden]; zero at padding."""
        packed = rnn.pack_padded_sequence(vectors, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True, total_length=vectors.shape[1])
        return states

    def _drop_words(self, vectors: Tensor) -> Tensor:
        if not self.training:
            return vectors
        keep = torch.rand(vectors.shape[:2], device=vectors.device) >= self._word_dropout
        return functional.dropout(vectors, self._dropout) * keep[:, :, None]


def training_vocabulary() -> Tensor:
    """The checksums of all words of the training split, ascending."""
    words = {word for text in load_split("train").texts for word in tokenise(text)}
    return torch.tensor(sorted({checksum(word) for word in words}), dtype=torch.int64)


ARCHITECTURES: Final[dict[str, Callable[..., nn.Module]]] = {"review-net": ReviewNet, **FURTHER}
