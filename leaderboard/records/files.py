"""Files that are written whole or not at all, and errors that say what to do about them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from adversarial.errors import StoreError


def write_whole(path: Path, data: bytes) -> Path:
    """Writes a file under a temporary name beside it, syncs it and renames it, creating the folder at need.

    A reader finds the old file or the new one, never a part; on any failure the temporary file is removed.
    Raises StoreError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        create_folder(path.parent)
        try:
            with temporary.open("xb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)  # noqa: PTH105 - the call whose atomicity is relied on
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise store_error(path, error) from error
    return path


def read_whole(path: Path) -> bytes | None:
    """The bytes of a file, or None where there is none. Raises StoreError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise store_error(path, error) from error


def create_folder(folder: Path) -> None:
    """Creates a folder and its parents where they are missing. Raises OSError."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """One process at a time between here and the end, by a lock on a file; a dead one lets go. Raises OSError."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a loss of power. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def store_error(path: Path, error: OSError) -> StoreError:
    """The same failure with the path, the reason and what to do; keeps its errno."""
    wrapped = StoreError(f"{path}: {error.strerror or error}. {_advice(path, error)}")
    wrapped.errno = error.errno
    return wrapped


def _advice(path: Path, error: OSError) -> str:
    blocking = next((one for one in (path, *path.parents) if one.exists()), path)
    match error:
        case NotADirectoryError() | FileExistsError() if not blocking.is_dir():
            return f"{blocking} is a file where a folder is needed: move it away, or name another folder"
        case IsADirectoryError():
            return "A folder lies where a file is needed: move it away"
        case PermissionError():
            return "Make it readable and writable for this user, or name another folder"
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return "Free some space or name another folder, and run again: what is written is kept"
        case _:
            return "Check the disk or name another folder, and run again: what is written is kept"
