"""A user's own texts for the task `sentiment-reviews`: negative or positive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from adversarial.errors import DataError
from tasks.own import Arrays, Manifest, OwnData, texts_as_arrays, texts_of
from tasks.own.labels import class_names, label_of
from tasks.own.reading import Rows, Wanted
from tasks.sentiment.candidates import candidates
from tasks.sentiment.facts import LABELS, Reviews, load_synonyms
from tasks.sentiment.tokens import tokenise
from tasks.sentiment.words import bundled


ROLES: Final[Mapping[str, Sequence[str]]] = {
    "text": ("text", "sentence", "review", "content"),
    "label": ("label", "labels", "sentiment", "class"),
}
_NAMES: Final = (("negative", "neg", "0"), ("positive", "pos", "1"))
MOST_WORDS: Final = 1_000


def collect(test: Rows, fit: Rows, wanted: Wanted) -> tuple[Manifest, dict[str, Arrays]]:
    """Raises DataError where the classes are not negative and positive, and for texts without words."""
    classes = class_names((test, fit), wanted.classes)
    if len(classes) != 2 or not (wanted.classes or all(c.lower() in n for c, n in zip(classes, _NAMES, strict=True))):
        raise DataError(
            f"expected the classes {' and '.join(LABELS)}, found {', '.join(classes)[:200]}; "
            "--classes NAME,NAME says what they are called, the negative one first"
        )
    names, parts = test.names_of("label"), {}
    for split, rows in (("test", test), ("validation", fit)):
        texts, labels = [], []
        for number, row in rows:
            text, where = "" if row["text"] is None else str(row["text"]), f"row {number} of {rows.name}"
            if not 0 < len(tokenise(text)) <= MOST_WORDS:
                raise DataError(f"{where}: expected 1 to {MOST_WORDS} words, got {text!r:.80}")
            texts.append(text)
            labels.append(label_of(row["label"], classes, names, where))
        parts[split] = {**texts_as_arrays("texts", texts), "labels": np.array(labels, np.int64)}
    return Manifest("sentiment-reviews", {}, classes=LABELS), parts


def load(data: OwnData, split: str) -> Reviews:
    """A split as the task reads it; nothing is known of domains and styles."""
    arrays = data.arrays(split)
    texts, labels = texts_of(arrays, "texts"), arrays["labels"].tolist()
    return Reviews(data.ids(split), tuple(texts), tuple(labels), ("",) * len(texts), (0,) * len(texts))


def own_words(data: OwnData) -> frozenset[str]:
    """The words of the data and their candidates; the lexicon knows them from then on, in an order that no batch
    decides."""
    words = OwnWords(data)
    found = words.known.union(*(words.candidates(word) for word in words.known))
    for word in sorted(found):
        bundled().intern(word)
    return found


class OwnWords:
    """The words of the data, of both splits: no misspelling may be one of them."""

    def __init__(self, data: OwnData) -> None:
        texts = [text for split in data.manifest.splits for text in texts_of(data.arrays(split), "texts")]
        self.known = frozenset(word for text in texts for word in tokenise(text))

    def candidates(self, word: str) -> tuple[str, ...]:
        """As tasks.sentiment.candidates has them, without what is another word of these data by chance."""
        synonyms = load_synonyms().get(word, ())
        return tuple(other for other in candidates(word) if other in synonyms or other not in self.known)
