"""Histories, which are only ever added to, and the counters that say that something changed."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from leaderboard.database.events import Circumstances, HistoryEvent, as_text, decode_event
from leaderboard.database.models import Counter, Event, EventKind
from leaderboard.records.verdict import Verdict


BOARDS: Final = "boards"  # raised in each transaction that changes what a board shows


def add_event(
    session: Session,
    bundle: str,
    kind: EventKind,
    moment: float,
    *,
    nonce: str = "",
    submitter: str = "",
    verdict: Verdict | None = None,
    circumstances: Circumstances | None = None,
) -> None:
    """Adds a line to an entry's history; export_events writes it to its file once the transaction is done."""
    last = session.scalars(select(func.max(Event.number)).where(Event.bundle == bundle)).one()
    line = HistoryEvent(bundle, (last or 0) + 1, kind, moment, nonce, submitter, verdict, circumstances)
    session.add(Event(bundle=bundle, number=line.number, kind=kind, at=moment, document=as_text(line), exported=0))
    session.flush()


def history(session: Session, bundle: str) -> tuple[HistoryEvent, ...]:
    """An entry's history, the oldest line first."""
    lines = session.scalars(select(Event.document).where(Event.bundle == bundle).order_by(Event.number))
    return tuple(decode_event(line.encode()) for line in lines)


def raise_counter(session: Session, name: str) -> None:
    """Raises a counter by one, and holds it until the transaction ends."""
    raised = session.execute(
        update(Counter).where(Counter.name == name).values(value=Counter.value + 1).returning(Counter.value)
    ).first()
    if raised is None:
        session.execute(insert(Counter).values(name=name, value=1))  # two at once: one of them is run again


def counter(session: Session, name: str) -> int:
    """The value of a counter; 0 before it was first raised."""
    return session.scalars(select(Counter.value).where(Counter.name == name)).first() or 0
