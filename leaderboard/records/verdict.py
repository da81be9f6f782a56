"""What verification says of a bundle. A verifying process prints it as JSON, and a board reads that strictly."""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec

from leaderboard.records.canonical import ResultError, decode
from leaderboard.records.record import Diagnostic


VerdictLevel = Literal["refused", "claimed", "re-scored", "re-run"]
MOST_REASONS: Final = 50
LONGEST: Final = 2_000  # characters of a reason or a detail


class CellCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was checked of one cell. check: `re-scored`, `re-run`, or `claimed` with the reason in detail.

    corrected: values by example where the check found others; a board shows these. columns: likewise, by their name.
    diagnostics: that the check found.
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
    level: VerdictLevel
    reasons: tuple[str, ...] = ()
    cells: tuple[CellCheck, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.level != "refused"


def decode_verdict(data: bytes) -> Verdict:
    """Reads what the verifying process printed. Raises ResultError for anything that is not one verdict."""
    verdict = decode(data, Verdict, "a verdict")
    texts = (*verdict.reasons, *(text for cell in verdict.cells for text in (cell.label, cell.check, cell.detail)))
    corrections = [found for cell in verdict.cells for found in (cell.corrected, *cell.columns.values())]
    if any(not math.isfinite(value) for found in corrections for value in found.values()):
        raise ResultError("not a verdict: a corrected value is no finite number")
    if len(verdict.reasons) > MOST_REASONS or any(len(text) > LONGEST for text in texts):
        raise ResultError(f"not a verdict: more than {MOST_REASONS} reasons, or one of over {LONGEST} characters")
    if not verdict.accepted and not verdict.reasons:
        raise ResultError("not a verdict: refused without a reason")
    return verdict
