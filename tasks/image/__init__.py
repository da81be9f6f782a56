"""Image classification: scikit-learn's handwritten digits."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from adversarial.entries import Pace, TaskEntry


ENTRY: Final = TaskEntry(
    name="image-digits",
    code="tasks.image.task:make",
    data_hash="tasks.image.dataset:data_hash",
    summary="handwritten digits, 8 x 8 pixels, ten classes",
    surfaces=("pixels",),
    libraries=("torch", "numpy", "scikit-learn"),
    loaders={"hf": "tasks.image.hf:load"},
    custom_data="tasks.image.task:on_data",
    preparing="tasks.image.custom_data:PREPARING",
    clean_examples="tasks.image.clean_examples:clean_examples",
    pace=Pace(0.01, 0.005, 400),
    models=("undefended", "noise-augmentation", "adversarial-training"),
    folder=str(Path(__file__).parent / "models"),
)
