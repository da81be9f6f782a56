"""Stores and bundles for the tests of the database, the server and the worker."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from postgres import new_database
from synthetic import IMAGE, METRICS, THREATS, cell, examples

from leaderboard.bundle.manifest import Benchmark, BundleKind, EntryFacts
from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import account_of
from leaderboard.bundle.writing import Parts, write_bundle
from leaderboard.database.accounts import issue_token
from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import Database, open_database
from leaderboard.database.entries import admit
from leaderboard.database.suites import SuiteFacts, write_suite
from leaderboard.records.record import Cost, Result


SUITE = "tiny@1"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
BENCHMARK = Benchmark(package="0.1.0", numbers="1")
FACTS = SuiteFacts(SUITE, {task: f"{threat}@gradient" for task, threat in THREATS.items()}, ())


def make_bundle(
    path: Path,
    name: str = "net",
    *,
    right: int = 20,
    total: int = 40,
    key: Ed25519PrivateKey = KEY,
    task: str = IMAGE,
    suite: str = SUITE,
    attacks: tuple[str, ...] = ("noise", "pgd"),
    kind: BundleKind = "entry",
    target: str | None = None,
    passes: int = 0,
) -> str:
    """Writes a bundle of a few records and returns its id. right: how many examples withstand the attacks; passes:
    what the first attack spent on each, the next one twice as much, and so on.
    """
    model_hash = f"{random.Random(name).getrandbits(256):064x}"
    results = []
    for number, attack in enumerate(("none", *attacks)):
        of = cell(task, name, attack, model_hash=model_hash)
        good = total if attack == "none" else right
        values = [1.0] * good + [0.0] * (total - good)
        random.Random(f"{name}{attack}").shuffle(values)
        cost = Cost(forwards=passes * number * total, queries=passes * number * total)
        measured = examples(task, values)
        results.append(Result(id=of.id, cell=of, status="ok", metric=METRICS[task], examples=measured, cost=cost))
    return write_bundle(
        path,
        Parts(
            entry=EntryFacts(name, task, "none", "https://example.org/net", "Apache-2.0"),
            suite=suite,
            benchmark=BENCHMARK,
            model_hash=model_hash,
            data_hash="d" * 64,
            plan={one.id: one.cell.label for one in results},
            kind=kind,
            target=target,
        ),
        records=results,
        evidence={},
        model_files={},
        key=key,
    )


def admitted(database: Database, depot: Depot, folder: Path, name: str = "net", **changes: object) -> str:
    """A bundle that lies in its place and has an entry and a job; returns its id."""
    made = folder / f"{random.random()}.rab"
    bundle = make_bundle(made, name, **changes)  # type: ignore[arg-type]
    manifest = open_bundle(made).manifest
    size = made.stat().st_size
    depot.place(made, bundle)
    database.transact(lambda session: admit(session, manifest, bundle, size))
    return bundle


def with_accounts(database: Database) -> str:
    """Makes the accounts of both keys, and returns a token of the first."""
    token = database.transact(lambda session: issue_token(session, account_of(KEY), "Ada"))
    database.transact(lambda session: issue_token(session, account_of(STRANGER), "Eve"))
    return token


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of each kind."""
    if request.param == "postgresql":
        return new_database()
    (tmp_path / "store").mkdir(exist_ok=True)
    return f"sqlite:///{tmp_path}/store/board.sqlite3"


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    found = Depot(tmp_path / "store")
    write_suite(found, FACTS)
    return found


@pytest.fixture
def database(database_url: str, depot: Depot) -> Iterator[Database]:
    opened = open_database(depot.path, database_url)
    yield opened
    opened.close()
