"""What a file in a bundle may be called: one rule for folders and zips, on every file system."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final, Literal

from leaderboard.bundle.errors import BundleError, shown


FileKind = Literal["manifest", "signature", "record", "evidence", "tensors", "json", "text"]

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "signature.json"
RECORDS: Final = "records"
EVIDENCE: Final = "evidence"
MODEL: Final = "model"
SOURCE: Final = "model/source.json"  # how to bring the model again

PATH_CHARACTERS: Final = 240
PATH_PARTS: Final = 8

_HEX = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+@=,-]{0,119}")
_DRIVE = re.compile(r"[A-Za-z]:")
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))})
_MODEL_KINDS: Final[dict[str, FileKind]] = {".safetensors": "tensors", ".json": "json", ".txt": "text", ".md": "text"}
_PICKLES = frozenset(
    {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".npy", ".npz", ".joblib", ".dill", ".cloudpickle", ".mar"}
)


def is_hash(text: str) -> bool:
    """Whether a text is a SHA-256 in lower-case hexadecimal digits."""
    return _HEX.fullmatch(text) is not None


def checked_path(path: str) -> str:
    """A path that stays below the bundle on every system. Raises BundleError with the reason otherwise."""
    fault = _fault(path)
    if fault:
        raise BundleError(f"file name {shown(path)}: {fault}")
    return path


def kind_of(path: str) -> FileKind:
    """What a file of a bundle holds, by its checked path. Raises BundleError for a place that bundles do not have."""
    if path in (MANIFEST, SIGNATURE):
        return "manifest" if path == MANIFEST else "signature"
    folder, _, rest = path.partition("/")
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _PICKLES:
        raise BundleError(f"{path}: the name of a pickle or an array file; weights come as safetensors only")
    if folder == RECORDS and rest.endswith(".json") and is_hash(rest.removesuffix(".json")):
        return "record"
    if folder == EVIDENCE and rest.endswith(".safetensors") and is_hash(rest.removesuffix(".safetensors")):
        return "evidence"
    if folder == MODEL and suffix in _MODEL_KINDS:
        return _MODEL_KINDS[suffix]
    raise BundleError(
        f"{path}: expected {RECORDS}/<cell id>.json, {EVIDENCE}/<cell id>.safetensors, "
        f"or {MODEL}/ with {', '.join(_MODEL_KINDS)}"
    )


def checked_paths(paths: Iterable[str]) -> None:
    """Refuses paths that are one file where case does not count, and a file that is another's folder."""
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        checked_path(path)
        lower = path.lower()
        if files.get(lower) == path:
            raise BundleError(f"{path} stands there twice")
        if lower in files:
            raise BundleError(f"{path} and {files[lower]} are one file where case does not count")
        files[lower] = path
        parts = path.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            known = folders.setdefault(folder.lower(), folder)
            if known != folder:
                raise BundleError(f"{folder} and {known} are one folder where case does not count")
    for lower, path in files.items():
        if lower in folders:
            raise BundleError(f"{path} is a file, and the folder of another file")


def record_path(cell_id: str) -> str:
    """Where a cell's record lies in a bundle."""
    return f"{RECORDS}/{cell_id}.json"


def evidence_path(cell_id: str) -> str:
    """Where a cell's adversarial examples lie in a bundle."""
    return f"{EVIDENCE}/{cell_id}.safetensors"


def cell_of(path: str) -> str:
    """The cell of a record's or an evidence file's path."""
    return PurePosixPath(path).stem


def _fault(path: str) -> str:
    if not path or len(path) > PATH_CHARACTERS:
        return f"expected 1 to {PATH_CHARACTERS} characters, found {len(path)}"
    if not (path.isascii() and path.isprintable()):
        return "expected printable ASCII"
    if "\\" in path:
        return "a backslash is a folder's end on some systems"
    if path.startswith("/") or _DRIVE.match(path):
        return "an absolute path leaves the bundle"
    parts = path.split("/")
    if ".." in parts:
        return "'..' leaves the bundle"
    if "" in parts or "." in parts:
        return "an empty part, or a folder where a file is expected"
    if len(parts) > PATH_PARTS:
        return f"expected at most {PATH_PARTS} parts, found {len(parts)}"
    for part in parts:
        if not _PART.fullmatch(part) or part.endswith("."):
            return f"part {shown(part)} is not letters, digits and _ . + @ = , - after a letter, a digit or _"
        if part.partition(".")[0].lower() in _DEVICES:
            return f"part {shown(part)} is a device on some systems"
    return ""
