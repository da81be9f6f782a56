"""Further architectures for reviews, for models that users bring: a bag of words and a convolution over words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from tasks.sentiment.spelling import spelling
from tasks.sentiment.words import bundled


class SpelledWords(nn.Module):
    """Word vectors as the mean of the vectors of a word's hashed n-grams (Bojanowski et al. 2016,
    https://arxiv.org/abs/1607.04606): ids [...] to vectors [..., width], zero for padding."""

    def __init__(self, width: int, buckets: int) -> None:
        super().__init__()
        self._buckets = buckets
        self.grams = nn.EmbeddingBag(buckets, width, mode="mean")

    def forward(self, ids: Tensor) -> Tensor:
        distinct, places = torch.unique(ids, return_inverse=True)
        grams, offsets = spelling(bundled(), self._buckets).bags(distinct.cpu())
        vectors: Tensor = self.grams(grams.to(ids.device), offsets.to(ids.device))
        return vectors[places]


class BagOfWords(nn.Module):
    """The mean of a review's word vectors and one hidden layer (Iyyer et al. 2015, Deep averaging networks).

    Ids, int64 [batch, words], or vectors, float [batch, words, width], to logits [batch, 2].
    """

    def __init__(self, width: int = 64, hidden: int = 64, buckets: int = 8192) -> None:
        super().__init__()
        self.words = SpelledWords(width, buckets)
        self.head = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 2))

    def embed(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.words(ids)
        return vectors

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        vectors = values if values.is_floating_point() else self.embed(values)
        real = _real(vectors, mask)
        logits: Tensor = self.head((vectors * real).sum(1) / real.sum(1).clamp(min=1))
        return logits


class WordConvolution(nn.Module):
    """Convolutions over neighbouring words and the largest answer of each (Kim 2014, https://arxiv.org/abs/1408.5882).

    Ids, int64 [batch, words], or vectors, float [batch, words, width], to logits [batch, 2].
    """

    def __init__(self, width: int = 64, channels: int = 64, reach: int = 1, buckets: int = 8192) -> None:
        super().__init__()
        self.words = SpelledWords(width, buckets)
        self.convolution = nn.Conv1d(width, channels, 2 * reach + 1, padding=reach)
        self.head = nn.Linear(channels, 2)

    def embed(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.words(ids)
        return vectors

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        vectors = values if values.is_floating_point() else self.embed(values)
        real = _real(vectors, mask)
        found = functional.relu(self.convolution((vectors * real).transpose(1, 2)))
        logits: Tensor = self.head((found * real.transpose(1, 2)).amax(2))
        return logits


def _real(vectors: Tensor, mask: Tensor | None) -> Tensor:
    """1 for words, 0 for padding, float [batch, words, 1]."""
    return vectors.new_ones(*vectors.shape[:2], 1) if mask is None else mask[:, :, None].to(vectors.dtype)


FURTHER: Final[dict[str, Callable[..., nn.Module]]] = {
    "bag-of-words": BagOfWords,
    "word-convolution": WordConvolution,
}
