"""A user's own model as a victim of a task: hf:, torch:, sb3: and python: sources. Imports no torch."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adversarial.errors import InvalidOption, ModelError, UnknownName
from tasks import ENTRIES


if TYPE_CHECKING:
    import torch

    from adversarial.victims import Victim
    from tasks.data import OwnData


_SYMBOLS: Final = (
    "logits [batch, frames, symbols] in the order of tasks.speech.transcripts.ALPHABET, and their mask, bool "
    "[batch, frames]"
)

# What a source may start with, and the module that brings it, by task; `*` stands for every task.
KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "hf": {
        "image-digits": "tasks.image.hf",
        "speech-digits": "tasks.speech.hf_ctc",
        "sentiment-reviews": "tasks.sentiment.hf",
    },
    "torch": {"*": "tasks.models.torch_folder"},
    "sb3": {"control-cartpole": "tasks.control.sb3"},
    "python": {"*": "tasks.models.python_file"},
    "reference": {"*": "tasks.models.torch_folder"},
}
WITH_ATTRIBUTE: Final = ("sb3", "python")  # kinds whose location may be followed by one more part


@dataclass(frozen=True, slots=True)
class Expected:
    """What a task wants of a victim, in words, and `classes`: of its decisions, None where it transcribes."""

    inputs: str
    scores: str
    classes: int | None = None


EXPECTED: Final[Mapping[str, Expected]] = {
    "image-digits": Expected("pixels, float32 [batch, 1, 8, 8] in [0, 1]", "logits [batch, 10]", 10),
    "speech-digits": Expected(
        "samples at 8 kHz, float32 [batch, samples] in [-1, 1), and their mask, bool [batch, samples]",
        _SYMBOLS,
    ),
    "sentiment-reviews": Expected(
        "word ids, int64 [batch, words] (tasks.sentiment.words.bundled() knows the words), or word vectors, and their "
        "mask, bool [batch, words]",
        "logits [batch, 2], negative and positive",
        2,
    ),
    "control-cartpole": Expected(
        "observations in the environment's units, float32 [batch, 4]", "logits of the actions, [batch, 2]", 2
    ),
}


def expected_of(task: str, data: OwnData | None = None) -> Expected | None:
    """What a task wants, on a user's own data where they are given; None for a task that is not known."""
    found = EXPECTED.get(task)
    if found is None or data is None:
        return found
    if task == "sentiment-reviews":
        return replace(found, scores=f"logits [batch, 2], {' and '.join(data.manifest.classes)}")
    if task == "image-digits":
        shape, classes = data.manifest.shape, len(data.manifest.classes)
        sides = ", ".join(map(str, shape))
        return Expected(f"pixels, float32 [batch, {sides}] in [0, 1]", f"logits [batch, {classes}]", classes)
    return Expected(found.inputs.replace("8 kHz", f"{data.manifest.rate_hz} Hz"), found.scores)


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
class Brought:
    """A model that is ready to be attacked.

    hash: SHA-256 over the names and contents of its files; of code and weights for python:. files: what a bundle
    carries, by its name in the bundle: safetensors, JSON and text. facts: what is worth knowing of it (architecture,
    sizes, label map). carried: whether a bundle holds the model; an entry without stays `claimed`. others: scores after
    those of the classes, for what the model says that is none of them. notes: what its owner should know before it is
    measured, by what it is about.
    """

    source: Source
    victim: Victim
    hash: str
    files: Mapping[str, Path]
    facts: Mapping[str, str | int | float]
    carried: bool = True
    others: int = 0
    notes: Mapping[str, str] = field(default_factory=dict)


def parse(text: str) -> Source:
    """Reads `hf:folder`, `torch:folder`, `sb3:file.zip`, `python:file.py:function`, `reference:task/model`; of the
    last, `task/model` will do.

    Raises InvalidOption, and UnknownName with the nearest kinds.
    """
    kind, colon, rest = text.partition(":")
    if not colon and kind.partition("/")[0] in {entry.name for entry in ENTRIES}:
        return Source("reference", kind)
    if not colon or not rest:
        raise InvalidOption(f"expected KIND:LOCATION with a kind of {', '.join(KINDS)}, got {text!r}")
    if kind not in KINDS:
        raise UnknownName.among("kind of model", kind, KINDS)
    if kind not in WITH_ATTRIBUTE:
        return Source(kind, rest)
    location, colon, attribute = rest.rpartition(":")
    if colon and attribute.isidentifier():
        return Source(kind, location, attribute)
    if kind == "python":
        raise InvalidOption(f"expected python:FILE.py:FUNCTION, got {text!r}")
    return Source(kind, rest)


def bring(source: Source, task: str, device: torch.device, data: OwnData | None = None) -> Brought:
    """The model as a victim of the task, in evaluation mode and frozen. data: what takes the place of the task's own.

    Raises ModelError with what to do, where the kind does not fit the task and for everything that is wrong with the
    model's files.
    """
    modules = KINDS[source.kind]
    name = modules.get(task, modules.get("*"))
    if name is None:
        fitting = ", ".join(kind for kind, by_task in KINDS.items() if task in by_task or "*" in by_task)
        raise ModelError(f"{source.kind}: models do not fit {task}; it takes {fitting}")
    if name == "tasks.speech.hf_ctc" and _is_whisper(source):
        name = "tasks.speech.hf_whisper"
    brought: Brought = importlib.import_module(name).bring(source, task, device, data)
    return brought


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


def _is_whisper(source: Source) -> bool:
    from tasks.models.folders import read_json
    from tasks.speech.hf import fetched

    return str(read_json(fetched(source), "config.json").get("model_type", "")) == "whisper"
