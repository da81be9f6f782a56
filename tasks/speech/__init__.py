"""Speech task: strings of spoken digits and the models that transcribe them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from adversarial.entries import Pace, TaskEntry


ENTRY: Final = TaskEntry(
    name="speech-digits",
    code="tasks.speech.task:make",
    data_hash="tasks.speech.dataset:data_hash",
    summary="strings of 2 to 5 spoken digits at 8 kHz, voices unseen in training",
    surfaces=("waveform",),
    answers=frozenset({"transcripts"}),
    libraries=("torch", "torchaudio", "numpy", "rapidfuzz"),
    loaders={"hf": "tasks.speech.hf:load"},
    custom_data="tasks.speech.task:on_data",
    preparing="tasks.speech.custom_data:PREPARING",
    clean_examples="tasks.speech.clean_examples:clean_examples",
    pace=Pace(0.1, 0.15, 220),
    models=("undefended", "noise-augmentation", "adversarial-training"),
    folder=str(Path(__file__).parent / "models"),
)
