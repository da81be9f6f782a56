"""A bundle as one zip, read by its own rules before a byte of an entry is believed.

The zip format leaves much to the reader: where it starts, which of two sizes holds, what a name means. Here nothing is
left: entries are stored, in order, without gaps, and headers are the bytes that zip_layout.py makes.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from leaderboard.bundle.container import Limits, exact_chunks
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.names import checked_path, checked_paths
from leaderboard.bundle.zip_layout import (
    CENTRAL,
    CENTRAL_MAGIC,
    END,
    END_MAGIC,
    LOCAL,
    central_header,
    end_record,
    local_header,
)
from leaderboard.records.files import store_error


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    size: int
    checksum: int
    offset: int

    @property
    def start(self) -> int:
        return self.offset + LOCAL.size + len(self.name)


class Archive:
    """A zip whose directory and headers were checked; contents are checked where they are read."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._entries = {entry.name: entry for entry in _read_entries(file, limits)}
        except OSError as error:
            raise store_error(path, error) from error
        self.sizes: Mapping[str, int] = {entry.name: entry.size for entry in self._entries.values()}

    def chunks(self, path: str) -> Iterator[bytes]:
        entry = self._entries[path]
        checksum = 0
        try:
            with self.path.open("rb") as file:
                file.seek(entry.start)
                for chunk in exact_chunks(file, entry.size, path):
                    checksum = zlib.crc32(chunk, checksum)
                    yield chunk
        except OSError as error:
            raise store_error(self.path, error) from error
        if checksum != entry.checksum:
            raise BundleError(f"{path}: expected CRC-32 {entry.checksum:08x}, found {checksum:08x}")


def _read_entries(file: BinaryIO, limits: Limits) -> list[_Entry]:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise BundleError("expected a folder or a regular file")
    if found.st_size > limits.with_overhead:
        raise BundleError(f"expected at most {limits.with_overhead} bytes, found {found.st_size}")
    count, offset, directory = _read_directory(file, found.st_size, limits)
    entries = _parse_directory(directory, count)
    checked_paths(entry.name for entry in entries)
    position = 0
    for entry in entries:
        if entry.offset != position:
            raise BundleError(
                f"{entry.name}: expected at byte {position}, where the entry before ends, found at {entry.offset}"
            )
        expected = local_header(entry.name, entry.size, entry.checksum)
        file.seek(entry.offset)
        if file.read(len(expected)) != expected:
            raise BundleError(f"{entry.name}: its local header is not what the directory says")
        position = entry.start + entry.size
    if position != offset:
        raise BundleError(f"the entries end at byte {position}, the directory starts at {offset}")
    names = [entry.name for entry in entries]
    if names != sorted(names):
        raise BundleError("the entries are not in the order of their names")
    return entries


def _read_directory(file: BinaryIO, size: int, limits: Limits) -> tuple[int, int, bytes]:
    if size < END.size:
        raise BundleError(f"not a bundle: {size} bytes, a zip has at least {END.size}")
    file.seek(size - END.size)
    end = file.read(END.size)
    magic, _, _, _, count, length, offset, _ = END.unpack(end)
    if magic != END_MAGIC:
        raise BundleError("not a bundle: no zip directory ends the file; it is cut, or something was added")
    if count > limits.files + 2:
        raise BundleError(f"expected at most {limits.files + 2} entries, found {count}")
    if offset + length + END.size != size:
        raise BundleError(
            f"the directory of {length} bytes at byte {offset} does not end the {size} bytes of the file; "
            "something stands before the first entry or after the last"
        )
    if end != end_record(count, length, offset):
        raise BundleError("the end of the directory is not as bundles have it: several disks, or a comment")
    if length > count * (CENTRAL.size + 256):
        raise BundleError(f"a directory of {length} bytes is too long for {count} entries")
    file.seek(offset)
    return count, offset, file.read(length)


def _parse_directory(directory: bytes, count: int) -> list[_Entry]:
    entries = []
    at = 0
    for number in range(count):
        if len(directory) - at < CENTRAL.size:
            raise BundleError(f"the directory ends in entry {number} of {count}")
        fields = CENTRAL.unpack_from(directory, at)
        magic, _, _, flags, method, _, _, checksum, packed, size, name_length, *_, attributes, offset = fields
        if magic != CENTRAL_MAGIC:
            raise BundleError(f"entry {number} of the directory does not start as one")
        encoded = directory[at + CENTRAL.size : at + CENTRAL.size + name_length]
        name = checked_path(encoded.decode("ascii", errors="backslashreplace"))
        kind = stat.S_IFMT(attributes >> 16)
        if flags & 0x41:
            raise BundleError(f"{name}: is encrypted")
        if method != 0:
            raise BundleError(f"{name}: is compressed (method {method}); expected stored entries")
        if packed != size:
            raise BundleError(f"{name}: says {packed} bytes stored and {size} bytes taken out")
        if kind not in (0, stat.S_IFREG):
            what = "a symbolic link" if kind == stat.S_IFLNK else f"a special file (type {kind:o})"
            raise BundleError(f"{name}: expected a regular file, found {what}")
        expected = central_header(name, size, checksum, offset)
        if directory[at : at + len(expected)] != expected:
            raise BundleError(f"{name}: its line in the directory has flags, extras, a date or a mode of its own")
        entries.append(_Entry(name, size, checksum, offset))
        at += len(expected)
    if at != len(directory):
        raise BundleError(f"the directory has {len(directory) - at} bytes more than its {count} entries")
    return entries
