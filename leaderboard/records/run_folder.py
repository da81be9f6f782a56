"""The run folder: records, artifacts, plans and the journal, written so that a kill loses nothing.

DIR/cells/<id>.json          one canonical record a cell
DIR/cells/<id>.safetensors   its artifact, written before the record
DIR/plans/<suite>.json       which cells make a suite's board
DIR/journal.jsonl            append-only diary: times and memory
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
import time
from pathlib import Path
from typing import Final

import msgspec

from adversarial.errors import StoreError, UnknownName
from leaderboard.records.canonical import ResultError, canonical_json, decode
from leaderboard.records.files import create_folder, only_one, read_whole, store_error, write_whole
from leaderboard.records.plan import JournalEntry, Plan, parse_label
from leaderboard.records.record import SCHEMA_VERSION, Result, decode_result


# A temporary file this old belongs to no living writer; a younger one may.
LEFTOVER_SECONDS: Final = 3600.0

_CELL_ID = re.compile(r"[0-9a-f]{64}")
_SUITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]*")


class RunFolder:
    """One folder of results. Nothing is created before the first write; readers ignore leftovers."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.cells = self.path / "cells"
        self.plan_folder = self.path / "plans"
        self.journal_path = self.path / "journal.jsonl"
        self._swept: set[Path] = set()

    def record_path(self, cell_id: str) -> Path:
        """Where a cell's record lies. Raises ResultError for an id that is not 64 hexadecimal digits."""
        return self.cells / f"{_checked_id(cell_id)}.json"

    def artifact_path(self, cell_id: str) -> Path:
        """Where a cell's artifact lies. Raises ResultError for an id that is not 64 hexadecimal digits."""
        return self.cells / f"{_checked_id(cell_id)}.safetensors"

    def write_result(self, result: Result) -> Path:
        """Writes one record, whole or not at all. Raises StoreError, or ResultError for a wrong id."""
        data = canonical_json(result)
        decode_result(data, expected_id=result.id)  # what could not be read back is never written
        return self._write(self.record_path(result.id), data)

    def write_artifact(self, cell_id: str, data: bytes) -> str:
        """Writes an artifact, whole or not at all, and returns its SHA-256. Raises StoreError."""
        self._write(self.artifact_path(cell_id), data)
        return hashlib.sha256(data).hexdigest()

    def read_result(self, cell_id: str) -> Result | None:
        """The record of a cell, or None where it has not run. Raises ResultError for a corrupt one."""
        path = self.record_path(cell_id)
        data = read_whole(path)
        if data is None:
            return None
        try:
            return decode_result(data, expected_id=cell_id)
        except ResultError as error:
            raise ResultError(f"{path}: {error}. {_REPAIR}") from error

    def read_artifact(self, cell_id: str, expected_sha256: str) -> bytes:
        """The bytes of an artifact. Raises ResultError where it is missing or is not what its record says."""
        path = self.artifact_path(cell_id)
        data = read_whole(path)
        if data is None:
            raise ResultError(f"{path} is missing. Delete the record beside it, and run the suite again")
        found = hashlib.sha256(data).hexdigest()
        if found != expected_sha256:
            raise ResultError(
                f"{path} hashes to {found[:12]}, its record says {expected_sha256[:12]}. "
                "Delete both, and run the suite again"
            )
        return data

    def results(self, plan: Plan) -> dict[str, Result]:
        """Every record of the plan that exists, by id. Raises ResultError for a corrupt one."""
        found = ((cell_id, self.read_result(cell_id)) for cell_id in plan.cells)
        return {cell_id: result for cell_id, result in found if result is not None}

    def write_plan(self, plan: Plan) -> Path:
        """Writes or replaces a suite's plan. Raises StoreError, or ResultError for an unfit name."""
        return self._write(self._plan_path(plan.suite), canonical_json(plan))

    def extend_plan(self, plan: Plan) -> Plan:
        """Writes a suite's plan together with the entries that it does not name and that are on the board already.

        An entry of a task that it does name is replaced with all of its cells: another model, or another version of
        what measures. Several processes may do so at once. Raises StoreError and ResultError.
        """
        path = self._plan_path(plan.suite)
        try:
            create_folder(self.plan_folder)
            with only_one(self.plan_folder / f".{plan.suite}.lock"):
                if path.exists():
                    plan = _joined(self.read_plan(plan.suite), plan)
                self.write_plan(plan)
        except StoreError:
            raise
        except OSError as error:
            raise store_error(path, error) from error
        return plan

    def read_plan(self, suite: str) -> Plan:
        """The plan of a suite. Raises UnknownName, or ResultError for a plan that cannot be read."""
        data = read_whole(self._plan_path(suite)) if _SUITE.fullmatch(suite) else None
        if data is None:
            raise UnknownName(self._unknown(suite))
        path = self._plan_path(suite)
        try:
            plan = decode(data, Plan, "a valid plan")
        except ResultError as error:
            raise ResultError(f"{path}: {error}. {_REPAIR}") from error
        if plan.schema != SCHEMA_VERSION or plan.suite != suite:
            raise ResultError(
                f"{path}: expected suite {suite} in schema {SCHEMA_VERSION}, "
                f"found suite {plan.suite} in schema {plan.schema}. {_REPAIR}"
            )
        return plan

    def plans(self) -> tuple[str, ...]:
        """The suites that have a plan here, sorted."""
        return tuple(sorted(path.stem for path in _listing(self.plan_folder, "*.json")))

    def append_journal(self, entry: JournalEntry) -> None:
        """Adds one line in one write, so that lines of several workers never mix. Raises StoreError."""
        line = canonical_json(entry)
        try:
            create_folder(self.path)
            handle = os.open(self.journal_path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                data = b"\n" + line if torn else line
                if os.write(handle, data) != len(data):
                    raise OSError(0, "only part of the line was written: the disk is full")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise store_error(self.journal_path, error) from error

    def journal(self) -> dict[str, JournalEntry]:
        """The last entry of each cell, by id. Lines that a kill has torn are skipped."""
        entries: dict[str, JournalEntry] = {}
        for line in (read_whole(self.journal_path) or b"").split(b"\n"):
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                entry = msgspec.json.decode(line, type=JournalEntry)
                entries[entry.id] = entry
        return entries

    def _plan_path(self, suite: str) -> Path:
        if not _SUITE.fullmatch(suite):
            raise ResultError(f"suite {suite!r} is no file name: letters, digits and _ . @ + - only")
        return self.plan_folder / f"{suite}.json"

    def _unknown(self, suite: str) -> str:
        known = self.plans()
        if not known:
            return f"{self.path} has no plan {suite!r}, nor any other. Run the suite first, or name its folder"
        near = difflib.get_close_matches(suite, known, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"It has {', '.join(known)}."
        return f"{self.path} has no plan {suite!r}. {hint}"

    def _write(self, path: Path, data: bytes) -> Path:
        self._sweep(path.parent)
        return write_whole(path, data)

    def _sweep(self, folder: Path) -> None:
        if folder in self._swept:
            return
        self._swept.add(folder)
        oldest = time.time() - LEFTOVER_SECONDS
        for leftover in folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):  # another worker may sweep the same file
                if leftover.stat().st_mtime < oldest:
                    leftover.unlink()


_REPAIR: Final = "Delete that file or move it away, and run the suite again"


def _joined(earlier: Plan, plan: Plan) -> Plan:
    """The plan, and what the earlier one holds of other entries."""
    named = {parse_label(label)[:2] for label in plan.labels.values()}
    kept = {cell_id: label for cell_id, label in earlier.labels.items() if parse_label(label)[:2] not in named}
    return msgspec.structs.replace(plan, cells=(*plan.cells, *kept), labels={**plan.labels, **kept})


def _checked_id(cell_id: str) -> str:
    if not _CELL_ID.fullmatch(cell_id):
        raise ResultError(f"cell id {cell_id!r} is not 64 hexadecimal digits")
    return cell_id


def _listing(folder: Path, pattern: str) -> list[Path]:
    return [path for path in folder.glob(pattern) if not path.name.startswith(".")]
