"""Writing a user's data down once, so that every cell, every worker and every verifier reads the same bytes."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import safetensors.numpy

from adversarial.entries import TaskEntry
from adversarial.errors import DataError, InvalidOption
from adversarial.registry import resolve
from tasks.data import MANIFEST, SHORT, Arrays, CustomData, DataManifest, Fact, Split, manifest_bytes, open_data
from tasks.data.reading import Rows, Selection, read


@dataclass(frozen=True, slots=True)
class Collected:
    """Rows as tensors. parts: the tensors of each split. rows: how many each has. classes, facts, reference_models: as
    in a DataManifest. notes: for whoever prepares the data, what was left out of them or changed."""

    parts: Mapping[str, Arrays]
    rows: Mapping[str, int]
    classes: tuple[str, ...] = ()
    facts: Mapping[str, Fact] = field(default_factory=dict)
    reference_models: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Preparing:
    """How a task reads a user's own data; what its registry entry names as `preparing`.

    roles: what columns are called where the user does not say, by role. collect: from the rows to attack, the rows to
    learn on and the selection; raises DataError for rows that do not fit. options: those of a Selection that it knows.
    """

    roles: Mapping[str, Sequence[str]]
    collect: Callable[[Rows, Rows, Selection], Collected]
    options: tuple[str, ...] = ()

    def __call__(self, test: Rows, fit: Rows, selection: Selection) -> Collected:
        return self.collect(test, fit, selection)


def prepare(selection: Selection, task: TaskEntry, folder: Path) -> CustomData:
    """Reads the data and writes them to a folder of their own, named by what they are, in `folder`.

    The same rows make the same bytes and the same name; what is there already is kept, or made whole. What was left out
    is told in `notes`. Raises InvalidOption for a task that takes no data or not these options, DataError for data that
    do not fit it.
    """
    if not task.preparing:
        raise InvalidOption(f"{task.name} takes no data but its own")
    how = cast("Preparing", resolve(task.preparing))
    if unknown := [name for name in selection.options if name not in how.options]:
        known = ", ".join(f"--{name}" for name in how.options) or "none"
        raise InvalidOption(f"{task.name} does not know --{unknown[0]}; of such options it has {known}")
    test, fit = read(selection, how.roles)
    if not len(test) or not len(fit):
        raise DataError(f"{selection.source}: a split is empty")
    found = how.collect(test, fit, selection)
    files = {split: safetensors.numpy.save(dict(arrays)) for split, arrays in sorted(found.parts.items())}
    splits = {split: Split(found.rows[split], hashlib.sha256(file).hexdigest()) for split, file in files.items()}
    manifest = DataManifest(task.name, splits, found.classes, dict(found.facts), found.reference_models)
    content = manifest_bytes(manifest)
    target = folder / hashlib.sha256(content).hexdigest()[:SHORT]
    _write(target, {**{f"{split}.safetensors": data for split, data in files.items()}, MANIFEST: content})
    return replace(open_data(target), notes=found.notes)


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    """All of the files, or none; where the folder is there, those that are not as they should be. Raises DataError."""
    scratch = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".preparing-", dir=target.parent))
        for name, content in files.items():
            (scratch / name).write_bytes(content)
        scratch.chmod(0o755)
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            for name, content in files.items():
                if not (target / name).is_file() or (target / name).read_bytes() != content:
                    (scratch / name).replace(target / name)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror}; name another folder") from None
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
