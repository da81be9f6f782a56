"""Models of the user's own beside the references: their tasks, their names, and what identifies them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adversarial.entries import SourceEntry, TaskEntry
from adversarial.errors import InvalidOption, ModelError, RobustArenaError
from adversarial.registry import Registry
from benchmarks.running.cells import ModelRef
from tasks.data import CustomData
from tasks.models import LoadedModel, Source, load_source, parse
from tasks.models.cards import CARD_FILE, Card, read_card


SAMPLE: Final = 8  # examples that a model is asked about before anything is measured


@dataclass(frozen=True, slots=True)
class CustomModels:
    """models: by task. sources: how to load each again, by task and name."""

    models: Mapping[str, tuple[ModelRef, ...]]
    sources: Mapping[tuple[str, str], str]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for _, name in self.sources))


def is_source(text: str, registry: Registry) -> bool:
    """Whether a text names a model to load, `KIND:LOCATION` or `NAME=KIND:LOCATION`, and not one that ships."""
    kind, colon, _ = _named(text)[1].partition(":")
    return bool(colon) and kind in {entry.name for entry in registry.all(SourceEntry)}


def custom_models(
    texts: Sequence[str], registry: Registry, tasks: Sequence[TaskEntry], data: CustomData | None = None
) -> CustomModels:
    """Loads each model once, for its hash. tasks: those that are asked for. data: what they are measured on.

    Raises InvalidOption where a model does not say its task or has another's name, and ModelError.
    """
    models: dict[str, list[ModelRef]] = {}
    sources: dict[tuple[str, str], str] = {}
    for text in texts:
        given, location = _named(text)
        source = parse(location, registry)
        card = read_card(source.path) if (source.path / CARD_FILE).is_file() else None
        task = _task_of(source, card, registry, tasks)
        name = given or (card.model if card is not None else _plain(source))
        if name in task.models or (task.name, name) in sources:
            raise InvalidOption(f"{text}: {task.name} has a model called {name} already; write NAME={location}")
        found = _checked(source, task, registry, data)
        defense = card.defense if card is not None else "none"
        models.setdefault(task.name, []).append(ModelRef(name, found.hash, defense, source=str(source)))
        sources[task.name, name] = str(source)
    return CustomModels({task: tuple(found) for task, found in models.items()}, sources)


def _checked(source: Source, task: TaskEntry, registry: Registry, data: CustomData | None) -> LoadedModel:
    """The model, where it answers the task's examples in the form that the task reads. Raises ModelError."""
    import torch

    from adversarial.victims import ask
    from tasks.data.making import task_of

    device = torch.device("cpu")
    try:
        found = load_source(source, task, registry, device, data)
        made = task_of(task, data)
        inputs, _ = made.sample(SAMPLE, device)
        fault = made.fault(ask(found.victim, inputs), inputs, found.others)
    except RobustArenaError:
        raise
    except Exception as error:
        raise ModelError(f"{source}: {type(error).__name__}: {error}") from error
    if fault:
        raise ModelError(f"{source}: {fault}; `robustarena check` says more")
    return found


def _named(text: str) -> tuple[str, str]:
    """The name that is given, or none, and the source."""
    name, equals, rest = text.partition("=")
    return (name, rest) if equals and ":" not in name else ("", text)


def _task_of(source: Source, card: Card | None, registry: Registry, tasks: Sequence[TaskEntry]) -> TaskEntry:
    """What the model's card says, or the only one of the tasks that reads such sources."""
    if card is not None:
        return registry.task(card.task)
    entry = registry.find(SourceEntry, source.kind)
    reading = [task for task in tasks if entry.code or entry.name in task.loaders]
    if len(reading) != 1:
        names = ", ".join(task.name for task in reading) or "none"
        raise InvalidOption(f"{source} does not say which task it is for; name one with --task (it may be: {names})")
    return reading[0]


def _plain(source: Source) -> str:
    """A name after a file or a folder: `agent` of sb3:runs/agent.zip, `net-make` of python:net.py:make."""
    stem = Path(source.location).stem or source.kind
    return f"{stem}-{source.attribute}" if source.attribute else stem
