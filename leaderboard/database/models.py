"""The tables. Times are seconds since 1970 by the database's clock; texts of JSON are canonical.

Bundles are facts and never change; entries say what became of them. Everything but tokens can be made again from the
files beside the database.
"""

from __future__ import annotations

from typing import Final, Literal

from sqlalchemy import BigInteger, Double, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


EntryState = Literal["queued", "verifying", "accepted", "refused", "withdrawn"]
JobState = Literal["queued", "running", "done", "cancelled"]
EventKind = Literal["submitted", "accepted", "refused", "withdrawn", "requeued"]

ACTIVE: Final[tuple[EntryState, ...]] = ("queued", "verifying", "accepted")
UNFINISHED: Final[tuple[EntryState, ...]] = ("queued", "verifying")


class Base(DeclarativeBase):
    """All tables."""

    # SQLite wants INTEGER for keys that count themselves up, PostgreSQL has a larger type for them.
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own way to say it
        str: String(),
        float: Double(),
        int: BigInteger().with_variant(Integer(), "sqlite"),
        bytes: LargeBinary(),
    }


class Account(Base):
    """A submitter. key: the public key in hexadecimal digits, which signs the bundles."""

    __tablename__ = "accounts"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    created: Mapped[float]


class Token(Base):
    """A right to submit for an account. hash: SHA-256 of the token; prefix: its first characters, shown to people."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    account: Mapped[str] = mapped_column(ForeignKey("accounts.key"), index=True)
    note: Mapped[str] = mapped_column(String(200))
    created: Mapped[float]
    revoked: Mapped[float | None]


class StoredBundle(Base):
    """What a manifest says. size: bytes of the file. target: the entry that a stronger attack is against."""

    __tablename__ = "bundles"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    suite: Mapped[str] = mapped_column(String(100))
    task: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(80))
    defense: Mapped[str] = mapped_column(String(80))
    url: Mapped[str] = mapped_column(String(300))
    licence: Mapped[str] = mapped_column(String(80))
    account: Mapped[str] = mapped_column(ForeignKey("accounts.key"), index=True)
    target: Mapped[str | None] = mapped_column(String(64), index=True)
    model_hash: Mapped[str] = mapped_column(String(64))
    data_hash: Mapped[str] = mapped_column(String(64))
    size: Mapped[int]


class StoredEntry(Base):
    """What became of a bundle. nonce: drawn once its id was fixed; level: what verification reached, empty before.

    holds: `suite/task/name` while the entry holds its name on a board, null otherwise; the database keeps it unique.
    """

    __tablename__ = "entries"
    __table_args__ = (Index("entries_by_state", "state", "created"),)

    id: Mapped[str] = mapped_column(ForeignKey("bundles.id"), primary_key=True)
    state: Mapped[EntryState] = mapped_column(String(20))
    level: Mapped[str] = mapped_column(String(20))
    reasons: Mapped[str] = mapped_column(Text)
    nonce: Mapped[str] = mapped_column(String(64))
    holds: Mapped[str | None] = mapped_column(String(400), unique=True)
    created: Mapped[float]
    changed: Mapped[float]


class Job(Base):
    """One verification. lease: what its present worker must show; until: when it may be taken from it.

    attempts: how often it was taken. not_before: when it may be taken, after an attempt that failed.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_by_state", "state", "not_before"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    bundle: Mapped[str] = mapped_column(ForeignKey("bundles.id"), unique=True)
    state: Mapped[JobState] = mapped_column(String(20))
    worker: Mapped[str] = mapped_column(String(200))
    lease: Mapped[str | None] = mapped_column(String(32))
    until: Mapped[float]
    not_before: Mapped[float]
    attempts: Mapped[int]
    progress: Mapped[str] = mapped_column(Text)
    trouble: Mapped[str] = mapped_column(Text)
    created: Mapped[float]


class StoredVerdict(Base):
    """What verification said. One a job, by the database's own word. document: the whole of it as JSON."""

    __tablename__ = "verdicts"

    id: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"), unique=True)
    bundle: Mapped[str] = mapped_column(ForeignKey("bundles.id"), index=True)
    level: Mapped[str] = mapped_column(String(20))
    document: Mapped[str] = mapped_column(Text)
    at: Mapped[float]


class StoredResult(Base):
    """An accepted entry as boards need it, worked out once from its records and the stronger attacks against it.

    basis: hash of what it was worked out from. row: a TaskRow as JSON. sample: what ranks it, clean: its clean pass,
    as scoring.py packs them; empty where there is none.
    """

    __tablename__ = "results"

    bundle: Mapped[str] = mapped_column(ForeignKey("bundles.id"), primary_key=True)
    suite: Mapped[str] = mapped_column(String(100), index=True)
    task: Mapped[str] = mapped_column(String(100))
    basis: Mapped[str] = mapped_column(String(64))
    row: Mapped[bytes]
    sample: Mapped[bytes]
    clean: Mapped[bytes]


class Event(Base):
    """One line of an entry's history, which is only ever added to. exported: whether its file was written."""

    __tablename__ = "history"
    __table_args__ = (UniqueConstraint("bundle", "number"), Index("history_to_export", "exported"))

    id: Mapped[int] = mapped_column(primary_key=True)
    bundle: Mapped[str] = mapped_column(ForeignKey("bundles.id"))
    number: Mapped[int]
    kind: Mapped[EventKind] = mapped_column(String(20))
    at: Mapped[float]
    document: Mapped[str] = mapped_column(Text)
    exported: Mapped[int]


class Counter(Base):
    """Numbers that only rise. `boards`: raised in each transaction that changes what a board shows."""

    __tablename__ = "counters"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[int]
