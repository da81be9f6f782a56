"""Writing a user's data down once, so that every cell, every worker and every verifier reads the same bytes."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import safetensors.numpy

from adversarial.errors import DataError, InvalidOption
from tasks.data import MANIFEST, SHORT, OwnData, Split, manifest_bytes, open_data
from tasks.data.overlap import Collected
from tasks.data.reading import Rows, Wanted, read
from tasks.image import custom_data as images
from tasks.sentiment import custom_data as reviews
from tasks.speech import custom_data as utterances


class _Kind(NamedTuple):
    roles: Mapping[str, Sequence[str]]
    collect: Callable[[Rows, Rows, Wanted], Collected]


KINDS: Final[Mapping[str, _Kind]] = {
    "image-digits": _Kind(images.ROLES, images.collect),
    "speech-digits": _Kind(utterances.ROLES, utterances.collect),
    "sentiment-reviews": _Kind(reviews.ROLES, reviews.collect),
}


def prepare(wanted: Wanted, task: str, folder: Path) -> OwnData:
    """Reads the data and writes them to a folder of their own, named by what they are, in `folder`.

    The same rows make the same bytes and the same name; what is there already is kept, or made whole. What was left out
    is told in `notes`. Raises InvalidOption for a task that takes no data, DataError for data that do not fit it.
    """
    if task not in KINDS:
        raise InvalidOption(f"{task} takes no data; those that do are {', '.join(KINDS)}")
    kind = KINDS[task]
    test, fit = read(wanted, kind.roles)
    if not len(test) or not len(fit):
        raise DataError(f"{wanted.source}: a split is empty")
    found = kind.collect(test, fit, wanted)
    files = {split: safetensors.numpy.save(dict(arrays)) for split, arrays in sorted(found.parts.items())}
    splits = {split: Split(found.rows[split], hashlib.sha256(file).hexdigest()) for split, file in files.items()}
    content = manifest_bytes(msgspec.structs.replace(found.manifest, splits=splits))
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
