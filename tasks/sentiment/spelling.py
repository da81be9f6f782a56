"""Words as bags of hashed character n-grams, after Bojanowski et al. 2016, https://arxiv.org/abs/1607.04606."""

from __future__ import annotations

import zlib
from functools import lru_cache

import torch
from torch import Tensor

from tasks.sentiment.words import Lexicon


LENGTHS = (3, 4, 5)


class Spelling:
    """The n-grams of a lexicon's words in `buckets` buckets, made once and extended as the lexicon grows."""

    def __init__(self, lexicon: Lexicon, buckets: int) -> None:
        self._lexicon, self._buckets = lexicon, buckets
        self._grams = torch.empty(0, dtype=torch.int64)
        self._ends = torch.zeros(1, dtype=torch.int64)
        self._checksums = torch.empty(0, dtype=torch.int64)

    def bags(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The n-grams of distinct ids, one after the other, and where each word's begin; int64."""
        self._extend()
        starts, counts = self._ends[ids], self._ends[ids + 1] - self._ends[ids]
        offsets = counts.cumsum(0) - counts
        places = torch.arange(int(counts.sum())) + (starts - offsets).repeat_interleave(counts)
        return self._grams[places], offsets

    def checksums(self, ids: Tensor) -> Tensor:
        """A number of each word that depends on its letters alone; int64, 0 for padding."""
        self._extend()
        return self._checksums[ids]

    def _extend(self) -> None:
        fresh = self._lexicon.words(len(self._checksums))
        if not fresh:
            return
        grams = [[zlib.crc32(gram) % self._buckets for gram in ngrams(word)] for word in fresh]
        counts = torch.tensor([len(own) for own in grams])
        self._grams = torch.cat([self._grams, torch.tensor([gram for own in grams for gram in own], dtype=torch.int64)])
        self._ends = torch.cat([self._ends, self._ends[-1] + counts.cumsum(0)])
        self._checksums = torch.cat([self._checksums, torch.tensor([checksum(word) for word in fresh])])


def ngrams(word: str) -> list[bytes]:
    """All n-grams of <word>, of 3 to 5 characters; none of the padding word."""
    if not word:
        return []
    marked = f"<{word}>"
    return [marked[start : start + length].encode() for length in LENGTHS for start in range(len(marked) - length + 1)]


def checksum(word: str) -> int:
    """63 bits of two independent checksums; 0 for the padding word only."""
    content = word.encode()
    return (zlib.crc32(content) << 31 | zlib.crc32(content[::-1], 1) >> 1) if content else 0


@lru_cache(maxsize=4)
def spelling(lexicon: Lexicon, buckets: int) -> Spelling:
    return Spelling(lexicon, buckets)
