"""Attacks, defenses, and the words they share. Importing this imports no torch; its torch-made names load on use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from adversarial import errors as errors
from adversarial.entries import AttackEntry as AttackEntry
from adversarial.entries import DefenseEntry as DefenseEntry
from adversarial.entries import TaskEntry as TaskEntry
from adversarial.registry import Registry as Registry
from adversarial.threats import Threat as Threat


if TYPE_CHECKING:
    from adversarial.goals import Flip as Flip
    from adversarial.goals import Goal as Goal
    from adversarial.inputs import Inputs as Inputs
    from adversarial.inputs import Scores as Scores
    from adversarial.keys import Keys as Keys
    from adversarial.ledger import Ledger as Ledger
    from adversarial.problem import Problem as Problem
    from adversarial.victims import ModuleVictim as ModuleVictim
    from adversarial.victims import Victim as Victim

_LAZY = {
    "Flip": "goals",
    "Goal": "goals",
    "Inputs": "inputs",
    "Scores": "inputs",
    "Keys": "keys",
    "Ledger": "ledger",
    "Problem": "problem",
    "ModuleVictim": "victims",
    "Victim": "victims",
}

__all__ = ["AttackEntry", "DefenseEntry", "Registry", "TaskEntry", "Threat", "errors", *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"adversarial.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'adversarial' has no attribute {name!r}")
