"""Tasks: data, victims, surfaces, a metric, training. Each domain is a folder with its entry; no torch here."""

from __future__ import annotations

from typing import Final

from adversarial.entries import TaskEntry
from tasks import control, image, sentiment, speech


FIT_SPLIT: Final = "validation"  # what attacks of the stage `fit` learn on; they are measured elsewhere

ENTRIES: Final[tuple[TaskEntry, ...]] = (image.ENTRY, speech.ENTRY, sentiment.ENTRY, control.ENTRY)
