"""Histories to files, and the database again from bundles and histories. Only tokens cannot be had back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.manifest import BundleManifest
from leaderboard.bundle.reading import open_bundle
from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import Database
from leaderboard.database.entries import add_job, store
from leaderboard.database.events import HistoryEvent, as_text, decode_event
from leaderboard.database.history import BOARDS, raise_counter
from leaderboard.database.models import (
    Account,
    EntryState,
    Event,
    Job,
    StoredBundle,
    StoredEntry,
    StoredResult,
    StoredVerdict,
)
from leaderboard.records.canonical import ResultError


class Rebuilt(msgspec.Struct, frozen=True):
    """How many entries there are again. unused: bundles without a history, which were never acknowledged.

    damaged: what could not be read, and why; those entries are left out.
    """

    entries: int
    unused: int
    damaged: tuple[str, ...]


def export_events(database: Database, depot: Depot, bundle: str | None = None) -> int:
    """Writes the lines of histories that have no file yet, of one bundle or of all, and returns how many.

    Raises StoreError.

    What the database knows and the files do not is written late, never lost: an acknowledged line is in the database,
    and a line is exported before it is acknowledged.
    """
    query = select(Event.id, Event.document).where(Event.exported == 0).order_by(Event.id)
    if bundle is not None:
        query = query.where(Event.bundle == bundle)
    with database.read() as session:
        lines = session.execute(query).all()
    for _, document in lines:
        depot.write_event(decode_event(document.encode()))
    if lines:
        done = [line.id for line in lines]
        database.transact(lambda session: session.execute(update(Event).where(Event.id.in_(done)).values(exported=1)))
    return len(lines)


def rebuild(database: Database, depot: Depot) -> Rebuilt:
    """Makes bundles, entries, verdicts, histories and jobs again from the files, in one transaction.

    Accounts and their tokens stay where the database still has them. Nothing else may use the store meanwhile.
    Raises StoreError where a file cannot be read.
    """
    export_events(database, depot)
    found: list[tuple[BundleManifest, int, Sequence[HistoryEvent]]] = []
    unused, damaged = 0, []
    for bundle in depot.ids():
        try:
            events = depot.events(bundle)
            if not events:
                unused += 1
                continue
            opened = open_bundle(depot.bundle_path(bundle))
            if opened.id != bundle:
                raise BundleError(f"the bundle is {opened.id[:12]}")
            found.append((opened.manifest, depot.bundle_path(bundle).stat().st_size, events))
        except (BundleError, ResultError) as error:
            damaged.append(f"{bundle}: {error}")
    # Entries in the order in which they came, so that the queue is as fair as it was.
    found.sort(key=lambda one: (one[2][0].at, one[2][0].bundle))

    def work(session: Session) -> None:
        for table in (StoredVerdict, StoredResult, Event, Job, StoredEntry, StoredBundle):
            session.execute(delete(table))
        for manifest, size, events in found:
            _restore(session, manifest, size, events)
        raise_counter(session, BOARDS)

    database.transact(work)
    return Rebuilt(len(found), unused, tuple(damaged))


def _restore(session: Session, manifest: BundleManifest, size: int, events: Sequence[HistoryEvent]) -> None:
    first, last = events[0], events[-1]
    bundle = first.bundle
    if session.get(Account, manifest.account) is None:
        session.add(Account(key=manifest.account, name=first.submitter, created=first.at))
        session.flush()
    store(session, manifest, bundle, size)
    verdict = next((one.verdict for one in reversed(events) if one.verdict is not None), None)
    state: EntryState = "queued" if last.kind == "submitted" or last.kind == "requeued" else last.kind
    if state == "queued":
        verdict = None
    nonce = next(event.nonce for event in reversed(events) if event.nonce)
    holds = None
    if manifest.kind == "entry" and state in ("queued", "accepted"):
        holds = f"{manifest.suite}/{manifest.entry.task}/{manifest.entry.name}"
    session.add(
        StoredEntry(
            id=bundle,
            state=state,
            level=verdict.level if verdict is not None else "",
            reasons=as_text(verdict.reasons if verdict is not None else ()),
            nonce=nonce,
            holds=holds,
            created=first.at,
            changed=last.at,
        )
    )
    session.flush()
    for event in events:
        document = as_text(event)
        session.add(
            Event(bundle=bundle, number=event.number, kind=event.kind, at=event.at, document=document, exported=1)
        )
        if event.verdict is not None:
            text = as_text(event.verdict)
            session.add(StoredVerdict(job=None, bundle=bundle, level=event.verdict.level, document=text, at=event.at))
    if state == "queued":
        add_job(session, bundle, last.at)
    session.flush()
