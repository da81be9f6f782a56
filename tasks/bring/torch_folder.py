"""torch: a folder with model.safetensors and card.json, of an architecture that the task has registered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from adversarial.errors import ModelError, UnknownName
from adversarial.registry import TaskEntry, resolve
from tasks import ENTRIES
from tasks.bring import Brought, Source, hash_of
from tasks.cards import CARD_FILE, WEIGHTS_FILE, read_card
from tasks.protocol import Task


def bring(source: Source, task: str, device: torch.device) -> Brought:
    """Raises ModelError where the folder is not of this task, and what load_victim raises.

    A source `reference:TASK/MODEL` is a folder that ships.
    """
    entry = entry_of(task)
    folder = _shipped(source, entry) if source.kind == "reference" else source.path
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder; a torch: model is one with {WEIGHTS_FILE} and {CARD_FILE}")
    card = read_card(folder)
    if card.task != task:
        raise ModelError(f"{folder} is a model of {card.task}, not of {task}; its {CARD_FILE} says so")
    loaded: Task = resolve(entry.code)()
    victim = loaded.load_victim(folder, device)
    files: Mapping[str, Path] = {name: folder / name for name in (WEIGHTS_FILE, CARD_FILE)}
    facts = {"architecture": card.architecture, "defense": card.defense}
    return Brought(source, victim, hash_of(files), files, facts)


def entry_of(task: str) -> TaskEntry:
    """The registry entry of a task that ships; raises UnknownName with the nearest."""
    known = {entry.name: entry for entry in ENTRIES}
    if task not in known:
        raise UnknownName.among("task", task, known)
    return known[task]


def _shipped(source: Source, entry: TaskEntry) -> Path:
    task, _, model = source.location.partition("/")
    if task != entry.name:
        raise ModelError(f"{source} is no model of {entry.name}; name one as reference:{entry.name}/{entry.models[0]}")
    if model not in entry.models:
        raise UnknownName.among(f"reference model of {task}", model, entry.models)
    return Path(entry.folder) / model
