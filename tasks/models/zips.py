"""Reading a stranger's zip: into memory, never onto a disk, and within limits that are checked on the way."""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from typing import Final

from adversarial.errors import ModelError


MOST_BYTES: Final = 64 * 2**20  # of a zip, as it lies there and unpacked
MOST_MEMBERS: Final = 2_000  # files in a zip, those of zips inside it included
_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]+(/[A-Za-z0-9_.\-]+)*")
_LONGEST: Final = 200  # characters of a name
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADER: Final = b"PK\x01\x02"  # in front of every entry of a zip's directory
_BROKEN: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    OverflowError,
    ValueError,
    EOFError,
    OSError,
    RuntimeError,
)


def members(data: bytes, what: str) -> dict[str, bytes]:
    """A zip's files by name, unpacked into memory and never onto a disk.

    what: the zip as messages name it. Raises ModelError for what is no zip, for names that leave the folder or stand
    there twice, folders, links, encrypted files, rare compressions, and for more than MOST_BYTES or MOST_MEMBERS.
    """
    if len(data) > MOST_BYTES:
        raise ModelError(f"{what} has {len(data)} bytes, more than the {MOST_BYTES} that a policy may have")
    if data.count(_HEADER) > MOST_MEMBERS:
        raise ModelError(f"{what} lists more than {MOST_MEMBERS} files")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _BROKEN as error:
        raise ModelError(f"{what} is not a zip ({error}); plain pickles are never loaded") from None
    found: dict[str, bytes] = {}
    left = MOST_BYTES
    for info in archive.infolist():
        name = info.filename
        _check(info, what)
        if name in found:
            raise ModelError(f"{what} holds {name} twice")
        if info.file_size > left:
            raise ModelError(f"{what} unpacks to more than {MOST_BYTES} bytes (at {name})")
        try:
            with archive.open(info) as file:
                found[name] = file.read(left + 1)
        except _BROKEN as error:
            raise ModelError(f"{what}: {name} cannot be unpacked ({error})") from None
        left -= len(found[name])
        if left < 0:
            raise ModelError(f"{what} unpacks to more than {MOST_BYTES} bytes (at {name})")
    return found


def _check(info: zipfile.ZipInfo, what: str) -> None:
    name = info.orig_filename
    if not _NAME.fullmatch(name) or {".", ".."} & set(name.split("/")) or len(name) > _LONGEST:
        raise ModelError(f"{what} holds the file {name[:80]!r}; expected plain names inside of its folder")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise ModelError(f"{what}: {name} is a link; expected plain files")
    if info.flag_bits & 0x1:
        raise ModelError(f"{what}: {name} is encrypted; save the model without a password")
    if info.compress_type not in _METHODS:
        raise ModelError(f"{what}: {name} is compressed in a way that is not read; use deflate or none")
