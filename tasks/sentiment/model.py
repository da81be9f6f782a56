"""Architectures for reviews, by the name that a card gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.sentiment.facts import load_split
from tasks.sentiment.spelling import checksum, spelling
from tasks.sentiment.tokens import tokenise
from tasks.sentiment.words import bundled


class ReviewNet(nn.Module):
    """Word vectors from spelling, two masked convolutions over them, the largest and the mean of each feature.

    A word's vector is the mean of its n-grams' vectors and, for the `known` words of the training split, one of its
    own, so that a misspelt word stays near the right one. Reads ids, int64 [batch, words], or vectors, float
    [batch, words, width]; answers logits [batch, 2]. Padding is zero at every layer: rows never meet.
    """

    vocabulary: Tensor

    def __init__(
        self, width: int = 48, channels: int = 64, buckets: int = 8192, known: int = 0, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self._buckets, self._dropout = buckets, dropout
        self.grams = nn.EmbeddingBag(buckets, width, mode="mean")
        self.own = nn.Embedding(known + 1, width)  # the last one is of all words that training never saw: zero
        self.narrow = nn.Conv1d(width, channels, 3, padding=1)
        self.wide = nn.Conv1d(width, channels, 5, padding=2)
        self.upper = nn.Conv1d(2 * channels, 2 * channels, 3, padding=1)
        self.head = nn.Linear(4 * channels, 2)
        # Checksums of the known words in ascending order; with the weights, so that no other file is needed.
        self.register_buffer("vocabulary", torch.arange(known, dtype=torch.int64))
        nn.init.normal_(self.grams.weight, std=0.3)
        nn.init.zeros_(self.own.weight)

    def embed(self, ids: Tensor) -> Tensor:
        """The vectors of word ids, [..., width] for ids [...]; zero for padding."""
        distinct, places = ids.unique(return_inverse=True)
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
        here = real[:, None].to(vectors.dtype)  # [batch, 1, words]
        x = self._drop_words(vectors).transpose(1, 2) * here
        x = torch.cat([functional.relu(self.narrow(x)), functional.relu(self.wide(x))], 1) * here
        x = functional.dropout(x, self._dropout, self.training)
        x = (x + functional.relu(self.upper(x))) * here
        # Features are never negative, so that padding's zeros leave the largest as it is.
        pooled = torch.cat([x.amax(2), x.sum(2) / here.sum(2).clamp(min=1)], 1)
        logits: Tensor = self.head(functional.dropout(pooled, self._dropout, self.training))
        return logits

    def _drop_words(self, vectors: Tensor) -> Tensor:
        if not self.training:
            return vectors
        keep = torch.rand(vectors.shape[:2], device=vectors.device) >= 0.1
        return functional.dropout(vectors, self._dropout) * keep[:, :, None]


def training_vocabulary() -> Tensor:
    """The checksums of all words of the training split, ascending."""
    words = {word for text in load_split("train").texts for word in tokenise(text)}
    return torch.tensor(sorted({checksum(word) for word in words}), dtype=torch.int64)


ARCHITECTURES: Final[dict[str, Callable[..., nn.Module]]] = {"review-net": ReviewNet}
