"""Sentiment of short reviews: films, food, products and places, written for this project."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from adversarial.entries import Pace, TaskEntry


ENTRY: Final = TaskEntry(
    name="sentiment-reviews",
    code="tasks.sentiment.task:make",
    data_hash="tasks.sentiment.dataset:data_hash",
    summary="short reviews of films, food, products and places, positive or negative",
    surfaces=("words", "embeddings"),
    libraries=("torch", "numpy"),
    loaders={"hf": "tasks.sentiment.hf:load"},
    custom_data="tasks.sentiment.task:on_data",
    preparing="tasks.sentiment.custom_data:PREPARING",
    clean_examples="tasks.sentiment.clean_examples:clean_examples",
    pace=Pace(0.025, 0.02, 340),
    models=("undefended", "noise-augmentation", "adversarial-training"),
    folder=str(Path(__file__).parent / "models"),
)
