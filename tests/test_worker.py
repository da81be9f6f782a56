"""A verification has no network, no secrets, one folder to write in, and an end."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from serving import STUB
from stores import KEY, admitted, make_bundle, with_accounts

from leaderboard.bundle.signing import account_of
from leaderboard.database import jobs
from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import Database, open_database
from leaderboard.database.entries import submission, withdraw
from leaderboard.server.settings import WorkerSettings
from leaderboard.server.verifying import Verification, run_verifier
from leaderboard.server.worker import Worker


@pytest.fixture
def settings(tmp_path: Path) -> WorkerSettings:
    stub = tmp_path / "stub.py"
    stub.write_text(STUB)
    return WorkerSettings(
        folder=tmp_path / "store",
        command=(sys.executable, "-S", str(stub), "BUNDLE", "RERUN", "NONCE"),
        seconds=30.0,
        memory_bytes=512 << 20,
        file_bytes=1 << 20,
        open_files=77,
        poll_seconds=0.05,
        most_attempts=1,
    )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(tmp_path / "store", f"sqlite:///{tmp_path}/store/board.sqlite3")
    with_accounts(opened)
    yield opened
    opened.close()


def verified(settings: WorkerSettings, name: str, tmp_path: Path) -> Verification:
    depot = Depot(settings.folder)
    made = make_bundle(tmp_path / "one.rab", name)
    return run_verifier(
        settings, tmp_path / "one.rab", made, ("ab" * 32, settings.rerun), depot.new_scratch(), lambda _: True
    )


def test_a_verdict_comes_back(settings: WorkerSettings, tmp_path: Path) -> None:
    found = verified(settings, "plain", tmp_path)
    assert found.verdict is not None
    assert (found.verdict.level, found.trouble) == ("re-run", "")
    refused = verified(settings, "bad", tmp_path)
    assert refused.verdict is not None
    assert refused.verdict.reasons == ("3 adversarial examples are over budget; first e004",)
    again = verified(replace(settings, rerun=0), "plain", tmp_path)
    assert again.verdict is not None
    assert again.verdict.level == "re-scored"


def test_the_verifier_reaches_nothing(
    settings: WorkerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBUSTARENA_DATABASE_URL", "postgresql://board:secret@/board")
    monkeypatch.setenv("ROBUSTARENA_TOKEN", "ra_secret")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = verified(settings, f"curious-{listening.getsockname()[1]}", tmp_path)
    assert found.verdict is not None, found.trouble
    seen = json.loads(found.verdict.reasons[0])
    assert not [name for name in seen["environment"] if "TOKEN" in name or "DATABASE" in name or "KEY" in name]
    assert seen["nonce"] == "ab" * 32
    assert seen["files"] == 77
    assert Path(seen["home"]).parent.parent == settings.folder / "scratch"
    if found.network == "cut":
        assert seen["network"] != 0
    else:
        assert found.network  # says why
    if found.files.startswith("confined"):
        assert seen["reached"] == []


@pytest.mark.parametrize(
    ("kind", "trouble"),
    [
        ("crash", "it ended with signal 9"),
        ("hungry", "not a verdict"),
        ("chatty", "not a verdict"),
        ("silent", "not a verdict"),
        ("other", "its verdict is of another bundle"),
        ("liar", "it said refused and ended with exit status 0"),
    ],
)
def test_what_ends_without_a_verdict_is_told(settings: WorkerSettings, tmp_path: Path, kind: str, trouble: str) -> None:
    found = verified(settings, kind, tmp_path)
    assert found.verdict is None
    assert trouble in found.trouble


def test_time_runs_out(settings: WorkerSettings, tmp_path: Path) -> None:
    found = verified(replace(settings, seconds=0.5), "slow", tmp_path)
    assert (found.verdict, found.final, found.trouble) == (None, True, "it took longer than 0.5 seconds")


def test_a_command_that_is_not_there_is_told(settings: WorkerSettings, tmp_path: Path) -> None:
    found = verified(replace(settings, command=("/no/such/program",)), "plain", tmp_path)
    assert found.verdict is None
    assert found.trouble


def test_a_worker_ends_what_waits(settings: WorkerSettings, database: Database, tmp_path: Path) -> None:
    depot = Depot(settings.folder)
    wanted = {"plain": "accepted", "crash": "refused", "bad": "refused"}
    made = {name: admitted(database, depot, tmp_path, name) for name in wanted}
    assert Worker(settings, database, depot).run(once=True) == 3
    with database.read() as session:
        found = {name: submission(session, bundle) for name, bundle in made.items()}
    assert {name: one.state for name, one in found.items() if one is not None} == wanted
    crashed = found["crash"]
    assert crashed is not None
    assert crashed.reasons == ("verification gave no verdict, tried once; the last time: it ended with signal 9",)
    assert list((settings.folder / "scratch").iterdir()) == []
    assert all(len(depot.events(bundle)) == 2 for bundle in made.values())


def test_a_job_that_was_lost_has_no_effect(settings: WorkerSettings, database: Database, tmp_path: Path) -> None:
    depot = Depot(settings.folder)
    bundle = admitted(database, depot, tmp_path, "brief")
    worker = Worker(replace(settings, lease_seconds=0.2), database, depot)
    taken = database.transact(lambda session: jobs.take(session, "one"))
    assert taken is not None
    database.transact(lambda session: withdraw(session, bundle, account_of(KEY)))
    assert not worker._work(taken)
    with database.read() as session:
        found = submission(session, bundle)
    assert found is not None
    assert found.state == "withdrawn"
