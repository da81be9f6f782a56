"""torch: a folder with model.safetensors and card.json, of an architecture that the task has registered."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn

from adversarial.entries import TaskEntry
from adversarial.errors import ModelError, UnknownName
from adversarial.victims import Victim
from tasks.data import CustomData
from tasks.data.making import task_of
from tasks.models import LoadedModel, Source, hash_of
from tasks.models.cards import CARD_FILE, WEIGHTS_FILE, Card, read_card, write_card
from tasks.models.folders import without_weights
from tasks.models.weights import save_weights


if TYPE_CHECKING:
    from tasks.measuring.protocol import Task


LARGEST: Final = 1 << 17  # any number among an architecture's arguments: widths beyond are no model of these tasks


def load(source: Source, task: TaskEntry, device: torch.device, data: CustomData | None = None) -> LoadedModel:
    """Raises ModelError where the folder is not of this task or does not read the data, and what load_victim raises."""
    folder = source.path
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder; a torch: model is one with {WEIGHTS_FILE} and {CARD_FILE}")
    if not (folder / WEIGHTS_FILE).is_file():
        raise ModelError(without_weights(folder, "tasks.models.torch_folder.save writes"))
    card = _checked(read_card(folder), folder)
    if card.task != task.name:
        raise ModelError(f"{folder} is a model of {card.task}, not of {task.name}; its {CARD_FILE} says so")
    made = task_of(task, data)
    victim = made.load_victim(folder, device)
    if data is not None:
        _check_reads(made, victim, folder, device)
    files: Mapping[str, Path] = {name: folder / name for name in (WEIGHTS_FILE, CARD_FILE)}
    facts: dict[str, str | int | float] = {"architecture": card.architecture, "defense": card.defense}
    module = getattr(victim, "module", None)
    if isinstance(module, nn.Module):
        facts["parameters"] = sum(tensor.numel() for tensor in module.parameters())
    return LoadedModel(source, victim, hash_of(files), files, facts)


def load_reference(
    source: Source, task: TaskEntry, device: torch.device, data: CustomData | None = None
) -> LoadedModel:
    """A model `TASK/MODEL` that ships, by its torch: folder. Raises ModelError for another task's, UnknownName."""
    name, _, model = source.location.partition("/")
    if name != task.name:
        fitting = "".join(f"; name one as {source.kind}:{task.name}/{first}" for first in task.models[:1])
        raise ModelError(f"{source} is no model of {task.name}{fitting}")
    if model not in task.models:
        raise UnknownName.among(f"reference model of {name}", model, task.models)
    return load(Source("torch", str(Path(task.folder) / model)), task, device, data)


def save(
    module: nn.Module,
    folder: Path,
    *,
    task: str,
    architecture: str,
    arguments: Mapping[str, Any],
    name: str = "mine",
    defense: str = "none",
) -> Card:
    """Writes the weights of a module that the user trained, and a card for it, as a folder that torch: takes.

    architecture, arguments: a registered name of the task and what it was made with. defense: what hardened it.
    """
    card = Card(
        task=task,
        model=name,
        architecture=architecture,
        arguments=dict(arguments),
        recipe={"defense": defense},
        data_hash="",
        weights_sha256=save_weights(module, folder),
        clean={},
        clean_loss=0.0,
        command="",
        versions={"torch": importlib.metadata.version("torch")},
    )
    write_card(folder, _checked(card, folder))
    return card


def _checked(card: Card, folder: Path) -> Card:
    """The card, where what loading needs of it is of the right kind; raises ModelError. Strangers' cards come in."""
    for name, value in (
        ("task", card.task),
        ("architecture", card.architecture),
        ("weights_sha256", card.weights_sha256),
    ):
        if not isinstance(value, str):
            raise ModelError(f"{folder / CARD_FILE}: {name} must be text, got {value!r:.80}")
    if not (isinstance(card.arguments, dict) and isinstance(card.recipe, dict)):
        raise ModelError(f"{folder / CARD_FILE}: arguments and recipe must be objects")
    for name, argument in card.arguments.items():
        if isinstance(argument, bool) or not isinstance(argument, (int, float)) or not 0 <= argument <= LARGEST:
            raise ModelError(
                f"{folder / CARD_FILE}: argument {name} must be a number from 0 to {LARGEST}, got {argument!r:.80}"
            )
    return card


def _check_reads(task: Task, victim: Victim, folder: Path, device: torch.device) -> None:
    """Whether a registered architecture reads a user's own data, before an hour goes by."""
    inputs, _ = task.sample(1, device)
    try:
        with torch.no_grad():
            scores = victim(inputs)
    except RuntimeError as error:
        raise ModelError(f"{folder} does not read {task.interface.inputs}: {str(error)[:200]}") from None
    if fault := task.fault(scores, inputs, 0):
        raise ModelError(f"{folder}: {fault}; the data want {task.interface.scores}")
