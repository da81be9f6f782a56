"""Utterances as they were before they were disturbed, for pages. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from leaderboard.records.examples import Disturbed, Original
from leaderboard.records.record import Cell
from tasks.data import CustomData
from tasks.speech import custom_data
from tasks.speech.dataset import SAMPLE_RATE, load_split


def clean_examples(
    cell: Cell, disturbed: Mapping[str, Disturbed], data: CustomData | None = None
) -> Mapping[str, Original]:
    """Of the split that a cell is on, by id; of the user's own data where they are given. Raises DataError."""
    known = _split(cell.split, data)
    return {name: known[name] for name in disturbed if name in known}


@lru_cache(maxsize=4)
def _split(split: str, data: CustomData | None) -> Mapping[str, Original]:
    spoken = load_split(split) if data is None else custom_data.load(data, split)
    rate_hz = SAMPLE_RATE if data is None else custom_data.rate_of(data)
    rows = zip(spoken.ids, spoken.samples, spoken.transcripts, strict=True)
    return {name: Original(samples, truth=text, rate_hz=rate_hz) for name, samples, text in rows}
