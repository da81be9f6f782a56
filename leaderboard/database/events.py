"""The lines of an entry's history, and how a verdict came about: strict, so that they can be read back."""

from __future__ import annotations

import json

import msgspec

from leaderboard.database.models import EventKind
from leaderboard.records.canonical import canonical_json, decode
from leaderboard.records.verdict import Verdict


class Circumstances(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a verdict came about. network: `cut`, or why it was not; files: `confined...`, or why they were not.

    rerun: how many cells were to be measured again.
    """

    worker: str = ""
    rerun: int = 0
    attempt: int = 0
    network: str = ""
    files: str = ""
    seconds: float = 0.0


class HistoryEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line of an entry's history. at: seconds since 1970. submitter: the account's name when it submitted."""

    bundle: str
    number: int
    kind: EventKind
    at: float
    nonce: str = ""
    submitter: str = ""
    verdict: Verdict | None = None
    circumstances: Circumstances | None = None


def decode_event(data: bytes) -> HistoryEvent:
    """Reads one line of a history. Raises ResultError for anything else."""
    return decode(data, HistoryEvent, "a line of a history")


def as_text(value: object) -> str:
    """Canonical JSON on one line, for a column of text."""
    return canonical_json(value).decode("ascii").rstrip("\n")


def reasons_of(text: str) -> tuple[str, ...]:
    """The reasons in an entry's column."""
    return tuple(json.loads(text))
