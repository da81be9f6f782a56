"""Verification once more, where the operator knows that it was the machine and not the bundle."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from leaderboard.bundle.manifest import BundleManifest
from leaderboard.database.engine import clock
from leaderboard.database.entries import ADMISSIONS, EntryError, NoSuchEntry, add_job, free_name
from leaderboard.database.history import BOARDS, add_event, raise_counter
from leaderboard.database.models import Job, StoredBundle, StoredEntry, StoredResult, StoredVerdict


AGAIN: Final = ("accepted", "refused")


def requeue(session: Session, manifest: BundleManifest, bundle: str) -> None:
    """Queues an entry that was decided, with a new nonce; its earlier verdict stays in its history.

    An accepted entry leaves the board until it is verified again. Raises NoSuchEntry, NameTaken where another has its
    name by now, NoTarget, and EntryError for an entry that waits already or was withdrawn.
    """
    raise_counter(session, ADMISSIONS)
    entry = session.scalars(select(StoredEntry).where(StoredEntry.id == bundle).with_for_update()).first()
    if entry is None:
        raise NoSuchEntry(f"no submission {bundle[:12]} here")
    if entry.state not in AGAIN:
        raise EntryError(f"{bundle[:12]} is {entry.state}; only what was accepted or refused can be verified again")
    was_shown, moment, nonce = entry.state == "accepted", clock(session), secrets.token_hex(32)
    entry.holds = None
    session.flush()
    entry.state, entry.level, entry.reasons, entry.nonce = "queued", "", "[]", nonce
    entry.changed = moment
    entry.holds = free_name(session, manifest, but=bundle)
    # What the verdict says may change, here and on entries whose model this is an attack against.
    same = select(StoredBundle.id).where(StoredBundle.model_hash == manifest.model_hash)
    session.execute(delete(StoredResult).where(StoredResult.bundle.in_(same)))
    session.execute(update(StoredVerdict).where(StoredVerdict.bundle == bundle).values(job=None))
    session.execute(delete(Job).where(Job.bundle == bundle))
    session.flush()
    add_job(session, bundle, moment)
    add_event(session, bundle, "requeued", moment, nonce=nonce)
    if was_shown:
        raise_counter(session, BOARDS)
