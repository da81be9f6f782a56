"""The words of a user's own texts, and what they may be replaced by."""

from __future__ import annotations

from tasks.data import CustomData, texts_of
from tasks.sentiment.candidates import candidates
from tasks.sentiment.dataset import load_synonyms
from tasks.sentiment.tokens import tokenise
from tasks.sentiment.words import bundled


def custom_words(data: CustomData) -> frozenset[str]:
    """The words of the data and their candidates; the lexicon knows them from then on, in an order that no batch
    decides."""
    words = CustomWords(data)
    found = words.known.union(*(words.candidates(word) for word in words.known))
    for word in sorted(found):
        bundled().intern(word)
    return found


class CustomWords:
    """The words of the data, of both splits: no misspelling may be one of them."""

    def __init__(self, data: CustomData) -> None:
        texts = [text for split in data.manifest.splits for text in texts_of(data.arrays(split), "texts")]
        self.known = frozenset(word for text in texts for word in tokenise(text))

    def candidates(self, word: str) -> tuple[str, ...]:
        """As tasks.sentiment.candidates has them, without what is another word of these data by chance."""
        synonyms = load_synonyms().get(word, ())
        return tuple(other for other in candidates(word) if other in synonyms or other not in self.known)
