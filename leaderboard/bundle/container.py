"""Where a bundle's files lie: the limits, what folders and zips have in common, and the folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from leaderboard.bundle.errors import BundleError, shown
from leaderboard.bundle.names import MANIFEST, SIGNATURE, FileKind, checked_path
from leaderboard.records.files import store_error


CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a bundle may claim, in bytes; files: how many besides manifest and signature.

    total: of all files. file: of any one. records: of all records together, which are held in memory. document: of
    a JSON or text file of the model. tensor_header: of the JSON that heads a safetensors file.
    """

    total: int = 2_000_000_000
    file: int = 1_000_000_000
    files: int = 5_000
    manifest: int = 8_000_000
    signature: int = 4_096
    record: int = 64_000_000
    records: int = 256_000_000
    document: int = 64_000_000
    tensor_header: int = 1 << 20

    def of(self, kind: FileKind) -> int:
        """The most bytes that one file of a kind may have."""
        match kind:
            case "manifest":
                return self.manifest
            case "signature":
                return self.signature
            case "record":
                return min(self.record, self.file)
            case "json" | "text":
                return min(self.document, self.file)
            case _:
                return self.file

    @property
    def with_overhead(self) -> int:
        """The most bytes of a zip: the files, the manifest, the signature, and two headers a file."""
        return self.total + self.manifest + self.signature + 1_024 * (self.files + 2)


class Container(Protocol):
    """The named files of a folder or a zip. Nothing about their contents was believed yet."""

    @property
    def path(self) -> Path: ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each file by its path in the bundle; every path was checked."""

    def chunks(self, path: str) -> Iterator[bytes]:
        """The bytes of one file, exactly as many as its size. Raises BundleError where there are fewer or more."""


class Folder:
    """A bundle as a folder: regular files in real folders, and nothing else."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        try:
            self.sizes: Mapping[str, int] = dict(sorted(self._scan("", limits, [limits.files + 2])))
        except OSError as error:
            raise store_error(path, error) from error

    def chunks(self, path: str) -> Iterator[bytes]:
        with self._open(path) as file:
            yield from exact_chunks(file, self.sizes[path], path)
            if file.read(1):
                raise BundleError(f"{path}: grew while it was read")

    def _open(self, path: str) -> BinaryIO:
        try:
            handle = os.open(self.path / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise store_error(self.path / path, error) from error
        file = os.fdopen(handle, "rb")
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            file.close()
            raise BundleError(f"{path}: expected a regular file")
        return file

    def _scan(self, folder: str, limits: Limits, left: list[int]) -> Iterator[tuple[str, int]]:
        empty = True
        with os.scandir(self.path / folder) as found:
            for item in found:
                empty = False
                path = checked_path(folder + item.name)
                mode = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(mode.st_mode):
                    yield from self._scan(f"{path}/", limits, left)
                    continue
                if not stat.S_ISREG(mode.st_mode):
                    raise BundleError(f"{path}: expected a regular file, found {_type(mode.st_mode)}")
                left[0] -= 1
                if left[0] < 0:
                    raise BundleError(f"expected at most {limits.files} files beside {MANIFEST} and {SIGNATURE}")
                yield path, mode.st_size
        if empty and folder:
            raise BundleError(f"{folder}: an empty folder is in no manifest")


def exact_chunks(file: BinaryIO, size: int, path: str) -> Iterator[bytes]:
    """So many bytes from where a file stands. Raises BundleError where it ends before."""
    left = size
    while left:
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            raise BundleError(f"{path}: expected {size} bytes, found {size - left}")
        left -= len(chunk)
        yield chunk


def checked_size(path: str, size: int, kind: FileKind, limits: Limits) -> None:
    """Refuses a file that is larger than its kind may be, before a byte of it is read."""
    if size > limits.of(kind):
        raise BundleError(f"{path}: expected at most {limits.of(kind)} bytes, found {shown(size)}")


def _type(mode: int) -> str:
    names = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return names.get(stat.S_IFMT(mode), "a device")
