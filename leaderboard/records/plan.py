"""Which cells make a suite's board, and the diary of how they ran."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from leaderboard.records.canonical import ResultError
from leaderboard.records.record import SCHEMA_VERSION, Status


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which cells make a suite's board, and which threat ranks each task. Written when a run starts.

    labels: the label of each cell by its id. An id is a hash, so without its label a cell that has not run
    cannot be charged to one entry, and then holds up the ranks of all.
    """

    suite: str
    ranking_threats: dict[str, str]
    unrealisable_threats: tuple[str, ...]
    cells: tuple[str, ...]
    schema: int = SCHEMA_VERSION
    labels: dict[str, str] = {}

    def __post_init__(self) -> None:
        if len(set(self.cells)) != len(self.cells):
            raise ResultError(f"plan {self.suite} names a cell twice")


class JournalEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the journal: when a cell ended, how long it took, the peak memory of its process."""

    id: str
    label: str
    status: Status
    finished: str
    seconds: float
    peak_memory_bytes: int


class Label(NamedTuple):
    """What a cell's label says, for a cell that has no record."""

    task: str
    model: str
    attack: str
    threat: str


def parse_label(text: str) -> Label:
    """Reads Cell.label back; a model's name may hold slashes. Raises ResultError for anything else."""
    task, _, rest = text.partition("/")
    parts = rest.rsplit("/", 2)
    if len(parts) != 3 or not all((task, *parts)):
        raise ResultError(f"label {text!r} does not read task/model/attack/threat")
    return Label(task, *parts)
