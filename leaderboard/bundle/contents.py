"""What the bytes of a bundle's files may be: JSON, text and tensors that say what their names say, and no pickle."""

from __future__ import annotations

import hashlib
import pickletools
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from leaderboard.bundle.container import Container, Limits, checked_size
from leaderboard.bundle.documents import read_json
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.manifest import FileFacts
from leaderboard.bundle.names import kind_of
from leaderboard.bundle.tensors import check_tensors


_CODE: Final = frozenset({"INST", "OBJ", "REDUCE", "BUILD", "NEWOBJ", "NEWOBJ_EX"})
_MOST_OPERATIONS: Final = 200_000
_MAGICS: Final = {
    b"PK\x03\x04": "a zip, as torch.save writes",
    b"PK\x05\x06": "a zip",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "gzip",
    b"\x7fELF": "a program",
    b"\x89HDF": "HDF5",
    **{bytes((0x80, protocol)): f"a pickle of protocol {protocol}" for protocol in range(2, 6)},
}


def check_file(container: Container, path: str, facts: FileFacts, limits: Limits) -> bytes | None:
    """Reads one file once: its size, its hash, and that it holds what its kind holds. Raises BundleError.

    Returns the bytes of a record; of all else nothing, so that memory does not grow with the bundle.
    """
    kind = kind_of(path)
    checked_size(path, facts.size, kind, limits)
    chunks = hashed(container.chunks(path), path, facts)
    if kind in ("evidence", "tensors"):
        _check_tensor_file(chunks, path, facts.size, limits, finite=kind == "evidence")
        return None
    data = b"".join(chunks)
    refuse_pickle(data, path)
    match kind:
        case "record":
            return data
        case "json":
            read_json(data, path, storable=False)  # a vocabulary may hold any text
        case _:
            _check_text(data, path)
    return None


def hashed(chunks: Iterable[bytes], path: str, facts: FileFacts) -> Iterator[bytes]:
    """The same chunks; raises BundleError after the last one unless they have the size and the hash expected."""
    digest = hashlib.sha256()
    size = 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if size != facts.size:
        raise BundleError(f"{path}: expected {facts.size} bytes, found {size}")
    if digest.hexdigest() != facts.sha256:
        raise BundleError(f"{path}: expected SHA-256 {facts.sha256[:12]}, found {digest.hexdigest()[:12]}")


def refuse_pickle(data: bytes, path: str) -> None:
    """Refuses what starts like a pickle, an archive or a program, and ASCII pickles of protocol 0 and 1."""
    for magic, what in _MAGICS.items():
        if data.startswith(magic):
            raise BundleError(f"{path}: starts like {what}; expected safetensors, JSON or text")
    code = _first_code(data)
    if code:
        raise BundleError(f"{path}: is a pickle that would run code ({code}); expected JSON or text")


def _first_code(data: bytes) -> str:
    """The first operation of a pickle that runs code, without running any; empty for all else.

    Many a text starts with letters that are operations (`Robust`: REDUCE, OBJ, BUILD), so an operation counts only
    where the stack holds what it takes.
    """
    stack: list[object] = []
    try:
        for operation, _, _ in islice(pickletools.genops(data), _MOST_OPERATIONS):
            takes = operation.stack_before
            if pickletools.markobject in takes:
                takes = takes[: takes.index(pickletools.markobject)]
                while stack.pop() is not pickletools.markobject:
                    pass
            if takes:
                popped = [stack.pop() for _ in takes]
                if pickletools.markobject in popped and operation.name != "POP":
                    return ""
            if operation.name in _CODE:
                return operation.name
            stack += operation.stack_after
    except Exception:  # whatever a stranger's text makes of the parser, it is then no pickle
        return ""
    return ""


def _check_tensor_file(chunks: Iterator[bytes], path: str, size: int, limits: Limits, *, finite: bool) -> None:
    start = next(chunks, b"")

    def everything() -> Iterator[bytes]:
        yield start
        yield from chunks

    try:
        check_tensors(everything(), size, path, limits.tensor_header, finite=finite)
    except BundleError:
        # Only now: a header of 640 bytes also starts with 80 02, and is no pickle, as no pickle goes on with 00 00.
        refuse_pickle(start, path)
        raise


def _check_text(data: bytes, path: str) -> None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: not text: {error}") from None
    if "\x00" in text:
        raise BundleError(f"{path}: not text: holds the character U+0000")
