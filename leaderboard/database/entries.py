"""Entries: how a bundle becomes one, what can be seen of it, and how its owner takes it off the board."""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from adversarial.errors import RobustArenaError
from leaderboard.bundle.manifest import BundleManifest
from leaderboard.database.engine import clock
from leaderboard.database.events import HistoryEvent, reasons_of
from leaderboard.database.history import BOARDS, add_event, history, raise_counter
from leaderboard.database.models import (
    ACTIVE,
    UNFINISHED,
    Account,
    EntryState,
    Job,
    StoredBundle,
    StoredEntry,
)


ADMISSIONS: Final = "admissions"


class EntryError(RobustArenaError, ValueError):
    """A bundle that cannot become an entry, or an entry that is not there. Says why and what to do.

    EntryError
    ├── NameTaken        another entry has that name on the board
    ├── NoTarget         a stronger attack against what is no accepted entry here
    ├── TooMany          the account has as many unfinished submissions as it may have
    ├── NoSuchEntry
    └── NotTheOwner
    """


class NameTaken(EntryError): ...


class NoTarget(EntryError): ...


class TooMany(EntryError): ...


class NoSuchEntry(EntryError): ...


class NotTheOwner(EntryError): ...


class SubmissionFacts(msgspec.Struct, frozen=True):
    """All that anyone may see of a submission. Times: seconds since 1970. progress: the verifier's last line."""

    id: str
    state: EntryState
    level: str
    reasons: tuple[str, ...]
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
    created: float
    changed: float
    progress: str
    attempts: int
    ahead: int
    history: tuple[HistoryEvent, ...]


def admit(session: Session, manifest: BundleManifest, bundle: str, size: int, *, most_unfinished: int = 0) -> bool:
    """Makes an entry and its job of a checked bundle that lies in its place; the nonce is drawn here.

    Returns whether it is new: the same bundle again changes nothing. most_unfinished: what an account may have in the
    queue, any number where 0. Raises NameTaken, NoTarget and TooMany.
    """
    raise_counter(session, ADMISSIONS)  # held to the end: one at a time, so that names and queues are exact
    if session.get(StoredEntry, bundle) is not None:
        return False
    holds = free_name(session, manifest)
    account = session.get(Account, manifest.account)
    if account is None:
        raise NotTheOwner(f"account {manifest.account[:12]} is not known here; ask for a token")
    waiting = select(func.count()).select_from(StoredEntry).join(StoredBundle, StoredBundle.id == StoredEntry.id)
    waiting = waiting.where(StoredBundle.account == manifest.account, StoredEntry.state.in_(UNFINISHED))
    if most_unfinished and session.scalars(waiting).one() >= most_unfinished:
        raise TooMany(f"{most_unfinished} submissions of this account are not verified yet; wait for one of them")
    moment = clock(session)
    nonce = secrets.token_hex(32)
    store(session, manifest, bundle, size)
    session.add(
        StoredEntry(
            id=bundle, state="queued", level="", reasons="[]", nonce=nonce, holds=holds, created=moment, changed=moment
        )
    )
    session.flush()
    add_job(session, bundle, moment)
    add_event(session, bundle, "submitted", moment, nonce=nonce, submitter=account.name)
    return True


def store(session: Session, manifest: BundleManifest, bundle: str, size: int) -> None:
    """Adds what a manifest says."""
    facts = manifest.entry
    session.add(
        StoredBundle(
            id=bundle,
            kind=manifest.kind,
            suite=manifest.suite,
            task=facts.task,
            name=facts.name,
            defense=facts.defense,
            url=facts.url,
            licence=facts.licence,
            account=manifest.account,
            target=manifest.target,
            model_hash=manifest.model_hash,
            data_hash=manifest.data_hash,
            size=size,
        )
    )
    session.flush()


def add_job(session: Session, bundle: str, moment: float) -> None:
    """Queues a bundle for verification."""
    session.add(
        Job(
            bundle=bundle,
            state="queued",
            worker="",
            lease=None,
            until=0.0,
            not_before=moment,
            attempts=0,
            progress="",
            trouble="",
            created=moment,
        )
    )


def submission(session: Session, bundle: str) -> SubmissionFacts | None:
    """What can be seen of a submission, None where there is none of that id."""
    found = session.execute(
        select(StoredEntry, StoredBundle, Account.name, Job)
        .join(StoredBundle, StoredBundle.id == StoredEntry.id)
        .join(Account, Account.key == StoredBundle.account)
        .outerjoin(Job, Job.bundle == StoredEntry.id)
        .where(StoredEntry.id == bundle)
    ).first()
    if found is None:
        return None
    entry, facts, submitter, job = found
    earlier = select(func.count()).select_from(Job).where(Job.state == "queued", Job.id < (job.id if job else 0))
    return SubmissionFacts(
        id=entry.id,
        state=entry.state,
        level=entry.level,
        reasons=reasons_of(entry.reasons),
        nonce=entry.nonce,
        kind=facts.kind,
        suite=facts.suite,
        task=facts.task,
        name=facts.name,
        defense=facts.defense,
        url=facts.url,
        licence=facts.licence,
        account=facts.account,
        submitter=submitter,
        target=facts.target,
        size=facts.size,
        created=entry.created,
        changed=entry.changed,
        progress=job.progress if job is not None and entry.state == "verifying" else "",
        attempts=job.attempts if job is not None else 0,
        ahead=session.scalars(earlier).one() if entry.state == "queued" else 0,
        history=history(session, bundle),
    )


def withdraw(session: Session, bundle: str, account: str) -> bool:
    """Takes an entry off the board and out of the queue; its history stays. Returns whether that changed anything.

    Raises NoSuchEntry and NotTheOwner.
    """
    entry = session.scalars(select(StoredEntry).where(StoredEntry.id == bundle).with_for_update()).first()
    owner = session.scalars(select(StoredBundle.account).where(StoredBundle.id == bundle)).first()
    if entry is None:
        raise NoSuchEntry(f"no submission {bundle[:12]} here")
    if owner != account:
        raise NotTheOwner("only the account that submitted an entry may withdraw it")
    if entry.state == "withdrawn":
        return False
    was_shown = entry.state == "accepted"
    moment = clock(session)
    entry.state, entry.holds, entry.changed = "withdrawn", None, moment
    running = update(Job).where(Job.bundle == bundle, Job.state.in_(("queued", "running")))
    session.execute(running.values(state="cancelled", lease=None))
    add_event(session, bundle, "withdrawn", moment)
    if was_shown:
        raise_counter(session, BOARDS)
    return True


def free_name(session: Session, manifest: BundleManifest, but: str = "") -> str | None:
    """What the entry will hold, None for a stronger attack; but: the entry's own bundle, where it has one already.

    Raises NameTaken and NoTarget.
    """
    facts = manifest.entry
    if manifest.kind != "entry":
        target = session.get(StoredBundle, manifest.target)
        state = session.scalars(select(StoredEntry.state).where(StoredEntry.id == manifest.target)).first()
        if target is None or state != "accepted":
            raise NoTarget(f"target {str(manifest.target)[:12]} is no accepted entry here")
        theirs = (target.kind, target.suite, target.task, target.name, target.model_hash)
        if theirs != ("entry", manifest.suite, facts.task, facts.name, manifest.model_hash):
            raise NoTarget(f"target {str(manifest.target)[:12]} is of another suite, task, name or model")
        return None
    active = select(StoredBundle.id, StoredBundle.task, StoredBundle.account).join(
        StoredEntry, StoredEntry.id == StoredBundle.id
    )
    active = active.where(StoredBundle.suite == manifest.suite, StoredBundle.name == facts.name)
    active = active.where(StoredEntry.holds.is_not(None), StoredEntry.state.in_(ACTIVE), StoredEntry.id != but)
    for other, task, account in session.execute(active):
        if account != manifest.account:
            raise NameTaken(f"{facts.name} is another account's entry on {manifest.suite}; choose another name")
        if task == facts.task:
            raise NameTaken(
                f"{facts.name} is your entry {other[:12]} on {manifest.suite} already; withdraw it first, or choose "
                "another name"
            )
    return f"{manifest.suite}/{facts.task}/{facts.name}"
