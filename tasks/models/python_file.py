"""python: a function in a file of the user's own, run on the user's own machine; such an entry stays unverified."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import nn

from adversarial.entries import TaskEntry
from adversarial.errors import ModelError, RobustArenaError
from adversarial.victims import Victim
from tasks.data import CustomData
from tasks.data.making import task_of
from tasks.models import LoadedModel, Source
from tasks.models.identity import weights_hash
from tasks.models.neighbours import Neighbours


if TYPE_CHECKING:
    from tasks.measuring.protocol import Task


def load(source: Source, task: TaskEntry, device: torch.device, data: CustomData | None = None) -> LoadedModel:
    """Calls the function without arguments; it returns a Victim, or a module from the task's inputs to its scores.

    Raises ModelError that names file and function, whatever goes wrong in them.
    """
    path = source.path
    if not path.is_file():
        raise ModelError(f"cannot read {path}; expected python:FILE.py:FUNCTION")
    neighbours = Neighbours(path.parent)
    with neighbours.importable():
        module = neighbours.imported(path)
        function = getattr(module, source.attribute, None)
        if not callable(function):
            raise ModelError(_unknown(path, source.attribute, module))
        try:
            made = function()
        except RobustArenaError:
            raise
        except (Exception, SystemExit) as error:
            raise ModelError(f"{path}: {source.attribute}() raised {type(error).__name__}: {error}") from error
    victim = _victim(made, source, task_of(task, data), device)
    facts = {"file": path.name, "function": source.attribute}
    return LoadedModel(source, victim, _identity(victim, source, neighbours), {}, facts)


def _identity(victim: Victim, source: Source, neighbours: Neighbours) -> str:
    """SHA-256 over the code that was imported from the file's folder, and over the weights that it made.

    Weights that it loads only when it is asked are out of sight: this tells versions of a model apart, and proves
    nothing.
    """
    roots: dict[str, object] = {"victim": victim}
    for module in neighbours.modules:
        roots |= {f"{module.__name__}.{name}": value for name, value in vars(module).items() if name[:2] != "__"}
    weights = weights_hash(roots, {module.__name__ for module in neighbours.modules})
    known = {"function": source.attribute, "sources": neighbours.sources, "weights": weights}
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _unknown(path: Path, name: str, module: ModuleType) -> str:
    own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    near = difflib.get_close_matches(name, own, n=1)
    return f"{path} has no function {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _victim(made: object, source: Source, task: Task, device: torch.device) -> Victim:
    if isinstance(made, nn.Module):
        return task.wrap(made.to(device))
    if isinstance(made, Victim):
        return made
    raise ModelError(
        f"{source} returned {type(made).__name__}; expected a torch module from {task.interface.inputs} to "
        f"{task.interface.scores}, or a Victim"
    )
