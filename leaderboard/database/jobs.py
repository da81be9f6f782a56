"""The queue of verifications. A job is taken by one conditional update and ends with its effect in one transaction.

A worker that dies keeps its lease until it runs out; then the job is another's, and what the first one still says is
refused, because it cannot show the new lease.
"""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.orm import Session

from adversarial.errors import RobustArenaError
from leaderboard.database.engine import clock, now
from leaderboard.database.events import Circumstances, as_text
from leaderboard.database.history import BOARDS, add_event, raise_counter
from leaderboard.database.models import EventKind, Job, StoredBundle, StoredEntry, StoredVerdict
from leaderboard.records.verdict import LONGEST, Verdict


LEASE_SECONDS: Final = 60.0
MOST_ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = 10.0  # after the first attempt that failed; doubled after each


class LeaseLost(RobustArenaError, RuntimeError):
    """The job is no longer this worker's: its lease ran out and another took it, or its entry was withdrawn."""


class Taken(NamedTuple):
    """A job that a worker holds. lease: what it must show; attempt: the first is 1. strikes: submissions of the account
    to the same board that were refused, or withdrawn before there was a verdict."""

    id: int
    bundle: str
    lease: str
    nonce: str
    attempt: int
    strikes: int = 0


def take(
    session: Session, worker: str, lease_seconds: float = LEASE_SECONDS, most_attempts: int = MOST_ATTEMPTS
) -> Taken | None:
    """Takes the job that waits longest, or None. What died too often on the way is refused."""
    give_up(session, most_attempts)
    free = or_(and_(Job.state == "queued", Job.not_before <= now()), and_(Job.state == "running", Job.until < now()))
    # PostgreSQL passes over rows that another worker is taking just now; on SQLite there is one writer at a time.
    first = select(Job.id).where(free).order_by(Job.not_before, Job.id).limit(1).with_for_update(skip_locked=True)
    lease = secrets.token_hex(16)
    found = session.execute(
        update(Job)
        .where(Job.id == first.scalar_subquery(), free)
        .values(
            state="running",
            worker=worker[:200],
            lease=lease,
            until=now() + lease_seconds,
            attempts=Job.attempts + 1,
            progress="",
        )
        .returning(Job.id, Job.bundle, Job.attempts)
        .execution_options(synchronize_session=False)
    ).first()
    if found is None:
        return None
    entry = session.get_one(StoredEntry, found.bundle)
    entry.state, entry.changed = "verifying", clock(session)
    return Taken(found.id, found.bundle, lease, entry.nonce, found.attempts, _strikes(session, found.bundle))


def _strikes(session: Session, bundle: str) -> int:
    """What keeps an account from trying until the draw leaves its forged cells out: each failure draws more of them.

    A try that gave no verdict counts as well, since a model may eat time or memory just where its record is forged. Was
    it the machine's fault, an operator repairs that and has the entry verified once more, and it counts no longer.
    """
    own = session.get_one(StoredBundle, bundle)
    passed = select(StoredVerdict.id).where(StoredVerdict.bundle == StoredBundle.id, StoredVerdict.level != "refused")
    failed = or_(StoredEntry.state == "refused", and_(StoredEntry.state == "withdrawn", ~passed.exists()))
    query = select(func.count()).select_from(StoredBundle).join(StoredEntry, StoredEntry.id == StoredBundle.id)
    same = (StoredBundle.account == own.account, StoredBundle.suite == own.suite, StoredBundle.task == own.task)
    return session.scalars(query.where(*same, failed)).one()


def renew(session: Session, taken: Taken, progress: str, lease_seconds: float = LEASE_SECONDS) -> bool:
    """Holds on to a job, and says how far it is. False where it is lost: the worker stops at once."""
    held = update(Job).where(Job.id == taken.id, Job.lease == taken.lease, Job.state == "running")
    values = {"until": now() + lease_seconds, "progress": _line(progress)}
    return session.execute(held.values(values).returning(Job.id)).first() is not None


def finish(session: Session, taken: Taken, verdict: Verdict, circumstances: Circumstances) -> None:
    """Ends a job with its effect: verdict, state, history, board. Raises LeaseLost, and then nothing has changed."""
    _end(session, taken, "done")
    _conclude(session, taken.id, taken.bundle, verdict, circumstances)


def fail(session: Session, taken: Taken, trouble: str, most_attempts: int = MOST_ATTEMPTS) -> bool:
    """Gives a job back that ended without a verdict, for another attempt after a pause. Raises LeaseLost.

    Returns whether there is another attempt; after the last one the entry is refused, with the trouble as its reason.
    """
    if taken.attempt >= most_attempts:
        finish(session, taken, _without_verdict(taken.bundle, taken.attempt, trouble), Circumstances())
        return False
    _end(session, taken, "queued")
    pause = PAUSE_SECONDS * 2 ** (taken.attempt - 1)
    values = {"not_before": now() + pause, "trouble": _line(trouble)}
    session.execute(update(Job).where(Job.id == taken.id).values(values))
    _waits_again(session, taken.bundle)
    return True


def give_back(session: Session, taken: Taken) -> None:
    """Gives a job back that a worker stopped on purpose; the attempt does not count. Raises LeaseLost."""
    _end(session, taken, "queued")
    session.execute(update(Job).where(Job.id == taken.id).values(attempts=Job.attempts - 1))
    _waits_again(session, taken.bundle)


def give_up(session: Session, most_attempts: int = MOST_ATTEMPTS) -> int:
    """Refuses the entries whose last attempt died with its worker; returns how many."""
    dead = and_(Job.state == "running", Job.until < now(), Job.attempts >= most_attempts)
    ended = update(Job).where(dead).values(state="done", lease=None)
    found = session.execute(
        ended.returning(Job.id, Job.bundle, Job.attempts).execution_options(synchronize_session=False)
    ).all()
    for job, bundle, attempts in found:
        verdict = _without_verdict(bundle, attempts, "the worker that held it was lost")
        _conclude(session, job, bundle, verdict, Circumstances())
    return len(found)


def unfinished(session: Session) -> int:
    """How many jobs wait or run."""
    return len(session.scalars(select(Job.id).where(Job.state.in_(("queued", "running")))).all())


def _end(session: Session, taken: Taken, state: str) -> None:
    held = update(Job).where(Job.id == taken.id, Job.lease == taken.lease, Job.state == "running")
    ended = held.values(state=state, lease=None, progress="").returning(Job.id)
    if session.execute(ended.execution_options(synchronize_session=False)).first() is None:
        raise LeaseLost(f"job {taken.id} of bundle {taken.bundle[:12]} is no longer this worker's")


def _conclude(session: Session, job: int, bundle: str, verdict: Verdict, circumstances: Circumstances) -> None:
    moment = clock(session)
    entry = session.scalars(select(StoredEntry).where(StoredEntry.id == bundle).with_for_update()).one()
    document = as_text(verdict)
    session.add(StoredVerdict(job=job, bundle=bundle, level=verdict.level, document=document, at=moment))
    entry.state = "accepted" if verdict.accepted else "refused"
    entry.level, entry.reasons, entry.changed = verdict.level, as_text(verdict.reasons), moment
    if verdict.accepted:
        raise_counter(session, BOARDS)
    else:
        entry.holds = None
    kind: EventKind = "accepted" if verdict.accepted else "refused"
    add_event(session, bundle, kind, moment, verdict=verdict, circumstances=circumstances)


def _waits_again(session: Session, bundle: str) -> None:
    entry = session.get_one(StoredEntry, bundle)
    entry.state, entry.changed = "queued", clock(session)


def _without_verdict(bundle: str, attempts: int, trouble: str) -> Verdict:
    times = "once" if attempts == 1 else f"{attempts} times"
    return Verdict(
        bundle, "refused", (f"verification gave no verdict, tried {times}; the last time: {_line(trouble)}",)
    )


def _line(text: str) -> str:
    return "".join(one if one.isprintable() else " " for one in text[: LONGEST // 2])
