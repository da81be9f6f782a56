"""Suites, cells, the runner, the command line, and the one-line Python API. Importing this imports no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from benchmarks.api import AttackResult as AttackResult
    from benchmarks.api import Evaluation as Evaluation
    from benchmarks.api import attack as attack
    from benchmarks.api import evaluate as evaluate

__all__ = ["AttackResult", "Evaluation", "attack", "evaluate"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("benchmarks.api"), name)
    raise AttributeError(f"module 'benchmarks' has no attribute {name!r}")
