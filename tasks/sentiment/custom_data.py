"""A user's own texts for the task `sentiment-reviews`: negative or positive, or of two other classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from adversarial.errors import DataError
from tasks.data import CustomData, texts_as_arrays, texts_of
from tasks.data.labels import class_names, label_of
from tasks.data.overlap import apart, left_out
from tasks.data.preparing import Collected, Preparing
from tasks.data.reading import Rows, Selection
from tasks.sentiment.dataset import LABELS, Reviews
from tasks.sentiment.tokens import tokenise


ROLES: Final[Mapping[str, Sequence[str]]] = {
    "text": ("text", "sentence", "review", "content"),
    "label": ("label", "labels", "sentiment", "class"),
}
_SENTIMENTS: Final = (("negative", "neg", "bad"), ("positive", "pos", "good"))
MOST_WORDS: Final = 1_000
_Text = tuple[str, int]  # and its label


def collect(test: Rows, fit: Rows, selection: Selection) -> Collected:
    """Texts without a word, and those of more than MOST_WORDS, are left out. Raises DataError where there are not two
    classes, and for labels of none."""
    classes = class_names((test, fit), selection.classes)
    if len(classes) != 2:
        raise DataError(
            f"text tasks have two classes today, and these data have {len(classes)} ({', '.join(classes)[:200]}); "
            "choose rows of two, or name both with --classes NAME,NAME, the negative one first"
        )
    turned = _are(classes, _SENTIMENTS[::-1])
    called = LABELS if turned or _are(classes, _SENTIMENTS) or classes == ("0", "1") else classes
    names = test.names_of("label")
    rows: dict[str, list[_Text]] = {}
    notes: tuple[str, ...] = ()
    for split, part in (("test", test), ("validation", fit)):
        read = [(number, _text(row["text"]), row["label"]) for number, row in part]
        counts = {number: len(tokenise(text)) for number, text, _ in read}
        notes += left_out(part, [number for number in counts if not counts[number]], "have no text")
        notes += left_out(
            part, [number for number in counts if counts[number] > MOST_WORDS], f"have more than {MOST_WORDS} words"
        )
        rows[split] = [
            (text, label_of(label, classes, names, f"row {number} of {part.name}") ^ turned)
            for number, text, label in read
            if 0 < counts[number] <= MOST_WORDS
        ]
    rows["validation"], repeated = apart(rows["test"], rows["validation"], _content)
    parts = {
        split: {
            **texts_as_arrays("texts", [text for text, _ in found]),
            "labels": np.array([label for _, label in found], np.int64),
        }
        for split, found in rows.items()
    }
    sentiments = called == LABELS or all(_is_number(name) for name in called)
    counted = {split: len(found) for split, found in rows.items()}
    return Collected(parts, counted, called, reference_models=sentiments, notes=notes + repeated)


PREPARING: Final = Preparing(ROLES, collect)


def _are(classes: Sequence[str], sentiments: Sequence[Sequence[str]]) -> bool:
    return all(name.lower() in known for name, known in zip(classes, sentiments, strict=True))


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _content(row: _Text) -> bytes:
    """Of a text, as models read it."""
    return " ".join(tokenise(row[0])).encode()


def load(data: CustomData, split: str) -> Reviews:
    """A split as the task reads it; nothing is known of domains and styles."""
    arrays = data.arrays(split)
    texts, labels = texts_of(arrays, "texts"), arrays["labels"].tolist()
    return Reviews(data.ids(split), tuple(texts), tuple(labels), ("",) * len(texts), (0,) * len(texts))
