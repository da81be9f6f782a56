"""Words as numbers that mean the same everywhere in a process."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

from adversarial.spaces.words import NO_WORD
from tasks.sentiment.candidates import Choices, candidates, known_words


PADDING: Final = ""  # the word with id 0; masks hide it


class Lexicon:
    """Words and their ids. Ids of the words given at first follow their sorted order; later words come after them."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = [PADDING, *sorted(set(words) - {PADDING})]
        self._ids = {word: number for number, word in enumerate(self._words)}
        self._choices: dict[tuple[Choices, int], tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._words)

    def intern(self, word: str) -> int:
        """The word's id; a word not met before gets the next one."""
        found = self._ids.get(word)
        if found is None:
            found = self._ids[word] = len(self._words)
            self._words.append(word)
        return found

    def word(self, number: int) -> str:
        return self._words[number]

    def words(self, start: int = 0) -> tuple[str, ...]:
        """All words from an id on."""
        return tuple(self._words[start:])

    def encode(self, sentences: Iterable[tuple[str, ...]]) -> tuple[Tensor, Tensor]:
        """Ids, int64 [batch, words], and the mask of real words, bool [batch, words]."""
        rows = [torch.tensor([self.intern(word) for word in sentence], dtype=torch.int64) for sentence in sentences]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
        lengths = torch.tensor([len(row) for row in rows])
        return ids, torch.arange(ids.shape[1]) < lengths[:, None]

    def decode(self, ids: Tensor) -> str:
        """The words of one row with spaces between them; tokenise brings the same words back."""
        return " ".join(self._words[number] for number in ids.tolist())

    def table(self, ids: Tensor, choices: Choices = candidates) -> Tensor:
        """The candidates of each word, int64 [batch, words, choices]: itself first, NO_WORD fills short lists."""
        distinct, places = torch.unique(ids, return_inverse=True)
        lists = [self._choices_of(number, choices) for number in distinct.tolist()]
        table = torch.full((len(lists), max(map(len, lists), default=1)), NO_WORD, dtype=torch.int64)
        for row, found in enumerate(lists):
            table[row, : len(found)] = torch.tensor(found, dtype=torch.int64)
        return table.to(ids.device)[places]

    def _choices_of(self, number: int, choices: Choices) -> tuple[int, ...]:
        found = self._choices.get((choices, number))
        if found is None:
            found = (number, *(self.intern(word) for word in choices(self._words[number])))
            self._choices[choices, number] = found
        return found


@lru_cache(maxsize=1)
def bundled() -> Lexicon:
    """The process's lexicon: every word of the data and every candidate of one, in sorted order."""
    own = known_words()
    return Lexicon(own.union(*(candidates(word) for word in own)))
