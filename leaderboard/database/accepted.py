"""The accepted entries of a suite, and their rows: worked out where they are missing or out of date, and kept."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, aliased

from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import Database
from leaderboard.database.models import Account, StoredBundle, StoredEntry, StoredResult
from leaderboard.database.scoring import basis_of, score_entry
from leaderboard.database.suites import SuiteFacts, facts_of
from leaderboard.database.verified import open_verified
from leaderboard.scoring.rows import Origin


log = logging.getLogger(__name__)


class Accepted(msgspec.Struct, frozen=True):
    """An entry on a board. origin: with the accepted bundles of attacks against its model, sorted."""

    suite: str
    task: str
    name: str
    origin: Origin

    @property
    def bundle(self) -> str:
        return self.origin.bundle


def accepted_entries(session: Session, suite: str | None = None) -> list[Accepted]:
    """Every accepted entry, of one suite or of all, sorted by bundle."""
    against: dict[tuple[str, str, str], set[str]] = defaultdict(set)  # a model that comes back does not shed them
    attack, target = aliased(StoredBundle), aliased(StoredBundle)
    pairs = (
        select(attack.id, target.suite, target.task, target.model_hash)
        .join(StoredEntry, StoredEntry.id == attack.id)
        .join(target, target.id == attack.target)
        .where(attack.kind != "entry", StoredEntry.state == "accepted", StoredEntry.level.in_(("re-scored", "re-run")))
    )
    for bundle, *attacked in session.execute(pairs):
        against[attacked[0], attacked[1], attacked[2]].add(bundle)
    query = (
        select(StoredBundle, StoredEntry.level, Account.name)
        .join(StoredEntry, StoredEntry.id == StoredBundle.id)
        .join(Account, Account.key == StoredBundle.account)
        .where(StoredBundle.kind == "entry", StoredEntry.state == "accepted")
        .order_by(StoredBundle.id)
    )
    if suite is not None:
        query = query.where(StoredBundle.suite == suite)
    return [
        Accepted(
            suite=one.suite,
            task=one.task,
            name=one.name,
            origin=Origin(
                level=level,
                submitter=submitter,
                bundle=one.id,
                url=one.url,
                licence=one.licence,
                stronger=tuple(sorted(against[one.suite, one.task, one.model_hash])),
            ),
        )
        for one, level, submitter in session.execute(query)
    ]


def refresh(database: Database, depot: Depot, suites: Mapping[str, SuiteFacts]) -> int:
    """Works out every row that is missing or out of date, and returns how many. Several processes may do so at once.

    An entry whose bundle is damaged on the disk, or whose suite has gone, has no row and is on no board; the log says
    so.
    """
    with database.read() as session:
        entries = accepted_entries(session)
        have = {row.bundle: row.basis for row in session.execute(select(StoredResult.bundle, StoredResult.basis))}
    count = 0
    for entry in entries:
        facts = facts_of(suites, entry.suite)
        basis = basis_of(entry.bundle, entry.origin.stronger, facts) if facts is not None else ""
        if facts is None:
            log.warning("entry %s is on no board: suite %s is not known here", entry.bundle[:12], entry.suite)
        elif have.get(entry.bundle) != basis:
            count += _score(database, depot, entry, facts, basis)
    return count


def fingerprint(session: Session, suites: Sequence[SuiteFacts]) -> str:
    """What all boards depend on, as SHA-256 in hexadecimal digits."""
    bases = session.execute(select(StoredResult.bundle, StoredResult.basis).order_by(StoredResult.bundle))
    parts = [accepted_entries(session), sorted(suites, key=lambda one: one.name), [tuple(row) for row in bases]]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def suites_with_entries(session: Session) -> tuple[str, ...]:
    """The suites that any accepted entry is of, sorted."""
    query = select(StoredBundle.suite).join(StoredEntry, StoredEntry.id == StoredBundle.id)
    return tuple(sorted(session.scalars(query.where(StoredEntry.state == "accepted").distinct())))


def _score(database: Database, depot: Depot, entry: Accepted, facts: SuiteFacts, basis: str) -> int:
    try:
        with database.read() as session:
            own = open_verified(session, depot, entry.bundle)
            stronger = [open_verified(session, depot, one) for one in entry.origin.stronger]
        scored = score_entry(own, stronger, facts)
    except DBAPIError:
        raise
    except Exception:  # one entry's records must not keep the others from their board
        log.exception("entry %s is on no board: it cannot be scored", entry.bundle[:12])
        return 0

    def replace(session: Session) -> None:
        session.execute(delete(StoredResult).where(StoredResult.bundle == entry.bundle))
        session.add(
            StoredResult(
                bundle=entry.bundle,
                suite=entry.suite,
                task=entry.task,
                basis=basis,
                row=scored.row,
                sample=scored.sample,
                clean=scored.clean,
            )
        )

    database.transact(replace)
    return 1
