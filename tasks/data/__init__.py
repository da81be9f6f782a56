"""A user's own data in place of a task's: what was prepared once, in a folder whose content has one name.

`robustarena prepare` writes such a folder: `data.json` and a safetensors file a split. It is read without torch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from adversarial.errors import UnavailableData, UnknownName


MANIFEST: Final = "data.json"
SPLITS: Final = ("validation", "test")
SHORT: Final = 12  # digits of an id in the name of a board

Arrays = dict[str, NDArray[Any]]
Fact = int | str | tuple[int, ...]


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """sha256: of the split's file."""

    rows: int
    sha256: str


class DataManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the data are; nothing of where they came from, so that the same data have the same name everywhere.

    classes: by label, as the data name them. facts: what the task must know of all examples, such as their shape.
    reference_models: whether the task's reference models can read them.
    """

    task: str
    splits: dict[str, Split]
    classes: tuple[str, ...] = ()
    facts: dict[str, Fact] = msgspec.field(default_factory=dict)
    reference_models: bool = True
    format: int = 1


@dataclass(frozen=True, slots=True)
class CustomData:
    """Prepared data. id: SHA-256 of the manifest, which names the hash of everything else. notes: what was left out,
    told once, by whoever has just prepared them."""

    folder: Path
    id: str
    manifest: DataManifest = field(compare=False)  # the id says which one it is
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def task(self) -> str:
        return self.manifest.task

    @property
    def suffix(self) -> str:
        """What a board's name says of the data."""
        return f"data{self.id[:SHORT]}"

    def data_hash(self, split: str) -> str:
        """What a cell on a split of these data names; raises UnknownName."""
        if split not in self.manifest.splits:
            raise UnknownName.among("split", split, self.manifest.splits)
        return hashlib.sha256(f"{self.id}\n{split}".encode()).hexdigest()

    def arrays(self, split: str) -> Arrays:
        """A split's tensors by name; raises UnavailableData where the file is not the one that the manifest names."""
        import safetensors.numpy

        path, expected = self.folder / f"{split}.safetensors", self.manifest.splits[split].sha256
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UnavailableData(f"cannot read {path}: {error.strerror}; prepare the data again") from None
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise UnavailableData(
                f"{path} has SHA-256 {found[:12]}..., expected {expected[:12]}...: it was changed after it was "
                "prepared; prepare the data again"
            )
        return safetensors.numpy.load(content)

    def ids(self, split: str) -> tuple[str, ...]:
        """The names of a split's examples."""
        return tuple(f"own-{split}-{number}" for number in range(self.manifest.splits[split].rows))


def manifest_bytes(manifest: DataManifest) -> bytes:
    """The one way in which a manifest is written."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def is_prepared(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def open_data(folder: Path) -> CustomData:
    """Data that were prepared before; raises UnavailableData for a folder that holds none."""
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        manifest = msgspec.json.decode(content, type=DataManifest)
    except OSError as error:
        raise UnavailableData(
            f"cannot read {path}: {error.strerror}; `robustarena prepare` writes such a folder"
        ) from None
    except msgspec.DecodeError as error:
        raise UnavailableData(f"{path} describes no prepared data: {error}; prepare them again") from None
    if set(manifest.splits) != set(SPLITS) or manifest.format != 1 or content != manifest_bytes(manifest):
        raise UnavailableData(f"{path} was not written by this version of robustarena; prepare the data again")
    return CustomData(folder, hashlib.sha256(content).hexdigest(), manifest)


def joined(rows: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    """Rows of several lengths, end to end."""
    return np.concatenate(rows).astype(dtype) if rows else np.zeros(0, dtype)


def texts_as_arrays(name: str, texts: list[str]) -> Arrays:
    """Texts as their UTF-8 bytes, end to end, and their lengths in bytes."""
    encoded = [np.frombuffer(text.encode(), dtype=np.uint8) for text in texts]
    return {name: joined(encoded, np.uint8), f"{name}_lengths": np.array([len(row) for row in encoded], np.int64)}


def texts_of(arrays: Arrays, name: str) -> list[str]:
    """The inverse of texts_as_arrays."""
    return [bytes(row).decode() for row in cut(arrays[name], arrays[f"{name}_lengths"])]


def cut(flat: NDArray[Any], lengths: NDArray[Any]) -> list[NDArray[Any]]:
    """Rows that were joined."""
    return np.split(flat, np.cumsum(lengths)[:-1]) if len(lengths) else []
