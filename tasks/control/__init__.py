"""Control: Gymnasium's CartPole-v1, attacked at every step through what the agent sees."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from adversarial.entries import Pace, TaskEntry


ENTRY: Final = TaskEntry(
    name="control-cartpole",
    code="tasks.control.task:make",
    data_hash="tasks.control.cartpole:data_hash",
    summary="balancing Gymnasium's CartPole-v1 for 500 steps",
    surfaces=("observations",),
    answers=frozenset({"classes", "episodes"}),
    libraries=("torch", "numpy", "gymnasium"),
    loaders={"sb3": "tasks.control.sb3:load"},
    clean_examples="tasks.control.clean_examples:clean_examples",
    pace=Pace(0.15, 0.15, 100),
    models=("undefended", "noise-augmentation", "adversarial-training"),
    folder=str(Path(__file__).parent / "models"),
)
