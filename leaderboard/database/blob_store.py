"""The files of a store: bundles by their id, their histories beside them, uploads on their way in.

DIR/bundles/ab/<id>/bundle.rab            the bundle, never changed
DIR/bundles/ab/<id>/0001-submitted.json   its history, only ever added to: what rebuilding reads
DIR/suites/<suite>.json                   what ranks on a suite's board
DIR/uploads, DIR/scratch                  what is not done yet; may be emptied while nothing runs
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from leaderboard.bundle.names import is_hash
from leaderboard.database.events import HistoryEvent, decode_event
from leaderboard.records.canonical import ResultError, canonical_json
from leaderboard.records.files import create_folder, read_whole, store_error, sync_folder, write_whole


BUNDLE: Final = "bundle.rab"
LEFTOVER_SECONDS: Final = 24 * 3600.0  # no upload and no verification takes so long


class Depot:
    """The folder. Nothing in it is created before the first write."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.bundles = self.path / "bundles"
        self.uploads = self.path / "uploads"
        self.scratch = self.path / "scratch"
        self.suites = self.path / "suites"

    def folder(self, bundle: str) -> Path:
        """Where a bundle and its history lie. Raises ResultError for an id that is not 64 hexadecimal digits."""
        if not is_hash(bundle):
            raise ResultError(f"bundle id {bundle[:80]!r} is not 64 hexadecimal digits")
        return self.bundles / bundle[:2] / bundle

    def bundle_path(self, bundle: str) -> Path:
        return self.folder(bundle) / BUNDLE

    def new_upload(self) -> Path:
        """A path for a file on its way in, that nobody else uses. Raises StoreError."""
        self._create(self.uploads)
        return self.uploads / f"{secrets.token_hex(16)}.part"

    def new_scratch(self) -> Path:
        """A new empty folder that only this user may enter. Raises StoreError."""
        self._create(self.scratch)
        folder = self.scratch / secrets.token_hex(16)
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise store_error(folder, error) from error
        return folder

    def seal(self, upload: Path) -> None:
        """Puts a checked upload on the disk for good, read-only; placing it then takes no time. Raises StoreError."""
        try:
            handle = os.open(upload, os.O_RDONLY)
            try:
                os.fchmod(handle, 0o444)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise store_error(upload, error) from error

    def place(self, upload: Path, bundle: str) -> Path:
        """Moves a sealed upload to its place, for good when this returns. Raises StoreError.

        What lies there already stays: the same id is the same content.
        """
        place = self.bundle_path(bundle)
        try:
            for folder in (self.bundles, place.parent.parent, place.parent):
                create_folder(folder)
            if place.exists():
                upload.unlink(missing_ok=True)
            else:
                os.replace(upload, place)  # noqa: PTH105 - the call whose atomicity is relied on
                sync_folder(place.parent)
        except OSError as error:
            raise store_error(place, error) from error
        return place

    def write_event(self, event: HistoryEvent) -> Path:
        """Writes one line of a history, whole or not at all; the same line again changes nothing. Raises StoreError."""
        return write_whole(self.folder(event.bundle) / f"{event.number:04}-{event.kind}.json", canonical_json(event))

    def events(self, bundle: str) -> tuple[HistoryEvent, ...]:
        """A bundle's history in order. Raises ResultError for one that is damaged."""
        found: list[HistoryEvent] = []
        for path in sorted(self.folder(bundle).glob("[0-9][0-9][0-9][0-9]-*.json")):
            try:
                event = decode_event(read_whole(path) or b"")
            except ResultError as error:
                raise ResultError(f"{path}: {error}. Take it from a copy, or move it away") from error
            if (event.bundle, event.number) != (bundle, len(found) + 1):
                raise ResultError(f"{path}: expected line {len(found) + 1} of this bundle's history, found another")
            found.append(event)
        return tuple(found)

    def ids(self) -> Iterator[str]:
        """Every bundle that lies here, sorted."""
        for folder in sorted(self.bundles.glob("[0-9a-f][0-9a-f]/*")):
            if is_hash(folder.name) and (folder / BUNDLE).is_file():
                yield folder.name

    def sweep(self) -> None:
        """Removes uploads and scratch folders that a kill has left, once they are old enough to belong to nobody."""
        oldest = time.time() - LEFTOVER_SECONDS
        for leftover in (*self.uploads.glob("*"), *self.scratch.glob("*")):
            with contextlib.suppress(OSError):
                if leftover.lstat().st_mtime < oldest:
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    def _create(self, folder: Path) -> None:
        try:
            create_folder(folder)
        except OSError as error:
            raise store_error(folder, error) from error
