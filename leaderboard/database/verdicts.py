"""What verification says of a bundle, and the lines of an entry's history: strict, so that they can be read back."""

from __future__ import annotations

import json
import math
from typing import Final, Literal

import msgspec

from leaderboard.database.models import EventKind
from leaderboard.records.metric import ResultError
from leaderboard.records.record import Diagnostic, canonical_json


Level = Literal["refused", "claimed", "re-scored", "re-run"]
RANKED: Final[Level] = "re-run"
MOST_REASONS: Final = 50
LONGEST: Final = 2_000  # characters of a reason or a detail


class CellCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was checked of one cell: `re-scored`, `re-run`, or `claimed` with the reason in detail.

    corrected: values by example where the check found others. columns: likewise, by their name. diagnostics: that the
    check found.
    """

    id: str
    label: str
    check: str
    detail: str = ""
    corrected: dict[str, float] = {}
    columns: dict[str, dict[str, float]] = {}
    diagnostics: tuple[Diagnostic, ...] = ()


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """bundle: its id, empty where it could not be read. reasons: why it is refused, or goes no further than it does."""

    bundle: str
    level: Level
    reasons: tuple[str, ...] = ()
    cells: tuple[CellCheck, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.level != "refused"


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


def decode_verdict(data: bytes) -> Verdict:
    """Reads what the verifying process printed. Raises ResultError for anything that is not one verdict."""
    try:
        verdict = msgspec.json.decode(data, type=Verdict)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResultError(f"not a verdict: {error}") from error
    texts = (*verdict.reasons, *(text for cell in verdict.cells for text in (cell.label, cell.check, cell.detail)))
    corrections = [found for cell in verdict.cells for found in (cell.corrected, *cell.columns.values())]
    if any(not math.isfinite(value) for found in corrections for value in found.values()):
        raise ResultError("not a verdict: a corrected value is no finite number")
    if len(verdict.reasons) > MOST_REASONS or any(len(text) > LONGEST for text in texts):
        raise ResultError(f"not a verdict: more than {MOST_REASONS} reasons, or one of over {LONGEST} characters")
    if not verdict.accepted and not verdict.reasons:
        raise ResultError("not a verdict: refused without a reason")
    return verdict


def decode_event(data: bytes) -> HistoryEvent:
    """Reads one line of a history. Raises ResultError for anything else."""
    try:
        return msgspec.json.decode(data, type=HistoryEvent)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResultError(f"not a line of a history: {error}") from error


def as_text(value: object) -> str:
    """Canonical JSON on one line, for a column of text."""
    return canonical_json(value).decode("ascii").rstrip("\n")


def reasons_of(text: str) -> tuple[str, ...]:
    """The reasons in an entry's column."""
    return tuple(json.loads(text))
