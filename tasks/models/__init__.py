"""A user's own model as a victim of a task, from whatever kind of source it comes. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adversarial.entries import SourceEntry, TaskEntry
from adversarial.errors import InvalidOption, ModelError
from adversarial.registry import Registry, resolve


if TYPE_CHECKING:
    import torch

    from adversarial.victims import Victim
    from tasks.data import CustomData


ENTRIES: Final = (
    SourceEntry(
        name="hf",
        summary="a model of transformers: a folder of save_pretrained, or an id on the Hub",
        carried=True,
    ),
    SourceEntry(
        name="torch",
        summary="a folder of safetensors and a card, of an architecture that the task has registered",
        code="tasks.models.torch_folder:load",
        carried=True,
    ),
    SourceEntry(
        name="sb3",
        summary="the zip of an agent of Stable-Baselines3; :NAME is its activation",
        attribute="optional",
        carried=True,
    ),
    SourceEntry(
        name="python",
        summary="a Python file of one's own; :NAME is a function in it that makes the model",
        code="tasks.models.python_file:load",
        attribute="required",
    ),
    SourceEntry(
        name="reference",
        summary="a reference model that ships, TASK/MODEL",
        code="tasks.models.torch_folder:load_reference",
    ),
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from: `kind:location`, or `kind:location:attribute` (a function's name, an activation)."""

    kind: str
    location: str
    attribute: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.location}" + (f":{self.attribute}" if self.attribute else "")

    @property
    def path(self) -> Path:
        return Path(self.location)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to be attacked.

    source: from which the same model is loaded again, once its files lie at the source's location. hash: SHA-256 over
    the names and contents of its files; of code and weights for python:. files: what a bundle carries, by its name in
    the bundle: safetensors, JSON and text. facts: what is worth knowing of it (architecture, sizes, label map). others:
    scores after those of the classes, for what the model says that is none of them. notes: what its owner should know
    before it is measured, by what it is about.
    """

    source: Source
    victim: Victim
    hash: str
    files: Mapping[str, Path]
    facts: Mapping[str, str | int | float]
    others: int = 0
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def carried(self) -> bool:
        """Whether a bundle holds the model; an entry without stays `claimed`."""
        return bool(self.files)


def parse(text: str, registry: Registry) -> Source:
    """Reads `hf:folder`, `torch:folder`, `sb3:file.zip`, `python:file.py:function`, `reference:task/model`, or any
    other registered kind; of a reference model, `task/model` will do.

    Raises InvalidOption, and UnknownName with the nearest kinds.
    """
    kind, colon, rest = text.partition(":")
    if not colon and kind.partition("/")[0] in {task.name for task in registry.tasks()}:
        return Source("reference", kind)
    if not colon or not rest:
        kinds = ", ".join(entry.name for entry in registry.all(SourceEntry))
        raise InvalidOption(f"expected KIND:LOCATION with a kind of {kinds}, got {text!r}")
    entry = registry.find(SourceEntry, kind)
    location, colon, attribute = rest.rpartition(":")
    if entry.attribute and colon and attribute.isidentifier():
        return Source(kind, location, attribute)
    if entry.attribute == "required":
        raise InvalidOption(f"expected {kind}:LOCATION:NAME, got {text!r}; {kind}: is {entry.summary}")
    return Source(kind, rest)


def load_source(
    source: Source, task: TaskEntry, registry: Registry, device: torch.device, data: CustomData | None = None
) -> LoadedModel:
    """The model as a victim of the task, in evaluation mode and frozen. data: what takes the place of the task's own.

    Raises ModelError with what to do, where the kind does not fit the task and for everything that is wrong with the
    model's files.
    """
    entry = registry.find(SourceEntry, source.kind)
    code = task.loaders.get(entry.name) or entry.code
    if not code:
        fitting = [one.name for one in registry.all(SourceEntry) if one.code or one.name in task.loaders]
        raise ModelError(f"{entry.name}: models do not fit {task.name}; it takes {', '.join(fitting)}")
    loaded: LoadedModel = resolve(code)(source, task, device, data)
    if supplied := registry.plugins_of(entry):  # how a plugin reads the files is part of what the model is
        digest = hashlib.sha256(json.dumps([loaded.hash, supplied], sort_keys=True).encode()).hexdigest()
        loaded = replace(loaded, hash=digest)
    carried = registry.find(SourceEntry, loaded.source.kind).carried
    return loaded if carried else replace(loaded, files={})


def hash_of(files: Mapping[str, Path]) -> str:
    """SHA-256 over names and contents; where files lie does not count. Raises ModelError for one that is missing."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror}") from None
        digest.update(f"{name}\x00{content}\n".encode())
    return digest.hexdigest()
