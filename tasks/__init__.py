"""The four domains: data, victims, surfaces, metrics, training. This file is their registry entries, free of torch."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from adversarial.registry import TaskEntry


_HERE = Path(__file__).parent
_MODELS = ("undefended", "noise-augmentation", "adversarial-training")

FIT_SPLIT: Final = "validation"  # what attacks of the stage `fit` learn on; they are measured elsewhere

ENTRIES: tuple[TaskEntry, ...] = (
    TaskEntry(
        name="image-digits",
        code="tasks.image.task:make",
        facts="tasks.image.dataset",
        summary="handwritten digits, 8 x 8 pixels, ten classes",
        surfaces=("pixels",),
        models=_MODELS,
        folder=str(_HERE / "image" / "models"),
        libraries=("torch", "numpy", "scikit-learn"),
        own_data="tasks.image.task:on_data",
    ),
    TaskEntry(
        name="speech-digits",
        code="tasks.speech.task:make",
        facts="tasks.speech.dataset",
        summary="strings of 2 to 5 spoken digits at 8 kHz, voices unseen in training",
        surfaces=("waveform",),
        models=_MODELS,
        folder=str(_HERE / "speech" / "models"),
        libraries=("torch", "torchaudio", "numpy", "rapidfuzz"),
        own_data="tasks.speech.task:on_data",
    ),
    TaskEntry(
        name="sentiment-reviews",
        code="tasks.sentiment.task:make",
        facts="tasks.sentiment.dataset",
        summary="short reviews of films, food, products and places, positive or negative",
        surfaces=("words", "embeddings"),
        models=_MODELS,
        folder=str(_HERE / "sentiment" / "models"),
        libraries=("torch", "numpy"),
        own_data="tasks.sentiment.task:on_data",
    ),
    TaskEntry(
        name="control-cartpole",
        code="tasks.control.task:make",
        facts="tasks.control.cartpole",
        summary="balancing Gymnasium's CartPole-v1 for 500 steps",
        surfaces=("observations",),
        models=_MODELS,
        folder=str(_HERE / "control" / "models"),
        libraries=("torch", "numpy", "gymnasium"),
    ),
)
