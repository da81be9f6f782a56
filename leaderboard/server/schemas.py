"""What the API answers, as OpenAPI describes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
from pydantic import BaseModel, Field

from leaderboard.database.entries import SubmissionFacts


_PROGRESS: Final = re.compile(r"(\d{1,6}) of (\d{1,6})")


class VerificationProgress(BaseModel):
    """How far verification is: the verifier's last line, and its numbers where it says them."""

    text: str
    done: int | None = None
    of: int | None = None


class HistoryLine(BaseModel):
    kind: Literal["submitted", "accepted", "refused", "withdrawn", "requeued"]
    at: str
    level: str = ""
    reasons: list[str] = []
    network: str = Field("", description="Whether the verifier had no network: `cut`, or why not.")


class CheckedCell(BaseModel):
    id: str
    label: str
    check: str
    detail: str


class SubmissionState(BaseModel):
    """A submission as anyone may see it. nonce: drawn after the id was fixed; it draws the cells that are run again,
    and is empty until they were: who knew them could withdraw and try again."""

    id: str
    state: Literal["queued", "verifying", "accepted", "refused", "withdrawn"]
    level: str
    reasons: list[str]
    nonce: str
    kind: str
    suite: str
    task: str
    name: str
    defense: str
    url: str
    licence: str
    account: str
    submitter: str
    target: str | None
    size: int
    created: str
    changed: str
    attempts: int
    ahead: int = Field(description="Jobs that wait before this one.")
    progress: VerificationProgress | None
    history: list[HistoryLine]
    created_now: bool = Field(False, description="Whether this request made the entry.")


class EntryDetails(BaseModel):
    submission: SubmissionState
    cells: list[CheckedCell] = Field(description="What verification checked of each cell.")
    row: dict[str, Any] | None = Field(description="Every figure of the entry, null while it is on no board.")


class ProblemDetail(BaseModel):
    detail: str


def as_state(found: SubmissionFacts, *, created_now: bool = False) -> SubmissionState:
    """A submission as the API says it."""
    plain = msgspec.to_builtins(found)
    if not _judged(found):
        plain["nonce"] = ""
    plain["created"], plain["changed"] = moment(found.created), moment(found.changed)
    plain["progress"] = _progress(found.progress) if found.progress else None
    plain["history"] = [
        HistoryLine(
            kind=line.kind,
            at=moment(line.at),
            level=line.verdict.level if line.verdict is not None else "",
            reasons=list(line.verdict.reasons) if line.verdict is not None else [],
            network=line.circumstances.network if line.circumstances is not None else "",
        )
        for line in found.history
    ]
    return SubmissionState(**plain, created_now=created_now)


def _judged(found: SubmissionFacts) -> bool:
    """Whether there is a verdict since the nonce was drawn."""
    judged = False
    for line in found.history:
        judged = (judged and not line.nonce) or line.verdict is not None
    return judged


def moment(seconds: float) -> str:
    """A time as people and machines read it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _progress(text: str) -> VerificationProgress:
    found = _PROGRESS.search(text)
    return (
        VerificationProgress(text=text, done=int(found[1]), of=int(found[2]))
        if found
        else VerificationProgress(text=text)
    )
