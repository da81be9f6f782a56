"""Files and folders that appear whole or not at all: written under a temporary name beside, synced, renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from adversarial.errors import StoreError
from leaderboard.bundle.errors import BundleError
from leaderboard.records.files import create_folder, store_error, sync_folder


@contextmanager
def placed(target: Path, *, replace: bool) -> Iterator[Path]:
    """A temporary path beside the target, to be made a file or a folder; becomes the target where nothing raises.

    replace: whether a file in the target's place is replaced. An empty folder always is; all else raises BundleError.
    Raises StoreError where the disk fails.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        _refuse_existing(target, replace)
        create_folder(target.parent)
        try:
            yield temporary
            _refuse_existing(target, replace)
            os.replace(temporary, target)  # noqa: PTH105 - the call whose atomicity is relied on
        except BaseException:
            with contextlib.suppress(OSError):
                if temporary.is_dir():
                    shutil.rmtree(temporary, ignore_errors=True)
                else:
                    temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)
    except StoreError:
        raise
    except OSError as error:
        raise store_error(target, error) from error


def write_new(folder: Path, name: str, chunks: Iterable[bytes]) -> None:
    """Writes one file of a folder that this process has just made. name: a checked path. Raises OSError."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(handle)


def sync_tree(folder: Path) -> None:
    """Makes the names in a folder and below it survive a loss of power. Raises OSError."""
    for path, _, _ in os.walk(folder):
        sync_folder(Path(path))


def _refuse_existing(target: Path, replace: bool) -> None:
    if target.is_symlink():
        raise BundleError(f"{target} is a symbolic link; name another place")
    if target.is_dir():
        if next(target.iterdir(), None) is not None:
            raise BundleError(f"{target} is a folder that is not empty; name another one")
    elif target.exists() and not replace:
        raise BundleError(f"{target} exists; name another place")
