"""Texts as they were before they were disturbed, word by word as models read them, for pages. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from leaderboard.records.examples import Disturbed, Original
from leaderboard.records.record import Cell
from tasks.data import CustomData
from tasks.sentiment import custom_data
from tasks.sentiment.dataset import LABELS, load_split
from tasks.sentiment.tokens import tokenise


def clean_examples(
    cell: Cell, disturbed: Mapping[str, Disturbed], data: CustomData | None = None
) -> Mapping[str, Original]:
    """Of the split that a cell is on, by id; of the user's own data where they are given. Raises DataError."""
    known = _split(cell.split, data)
    return {name: known[name] for name in disturbed if name in known}


@lru_cache(maxsize=4)
def _split(split: str, data: CustomData | None) -> Mapping[str, Original]:
    texts = load_split(split) if data is None else custom_data.load(data, split)
    classes = LABELS if data is None else data.manifest.classes
    rows = zip(texts.ids, texts.texts, texts.labels, strict=True)
    return {name: Original(text=" ".join(tokenise(text)), truth=classes[label]) for name, text, label in rows}
