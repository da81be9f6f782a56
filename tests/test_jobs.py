"""The queue: no job is done twice, none is lost, and a worker that lost its lease changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from stores import KEY, admitted, database, database_url, depot, with_accounts

from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import account_of
from leaderboard.database import jobs
from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import Database, open_database
from leaderboard.database.entries import EntryError, NameTaken, SubmissionFacts, submission, withdraw
from leaderboard.database.events import Circumstances
from leaderboard.database.history import counter
from leaderboard.database.jobs import LeaseLost, Taken
from leaderboard.database.models import Job, StoredVerdict
from leaderboard.database.rebuild import export_events, rebuild
from leaderboard.database.requeue import requeue
from leaderboard.records.verdict import Verdict
from leaderboard.server.schemas import as_state


__all__ = ["database", "database_url", "depot"]  # fixtures

HERE = Path(__file__).parent
CALM = Circumstances("test")


def take(database: Database, worker: str = "one", lease_seconds: float = 60.0) -> Taken:
    taken = database.transact(lambda session: jobs.take(session, worker, lease_seconds))
    assert taken is not None
    return taken


def nothing_to_take(database: Database) -> bool:
    return database.transact(lambda session: jobs.take(session, "idle")) is None


def finish(database: Database, taken: Taken, level: str = "re-run") -> None:
    verdict = Verdict(taken.bundle, level, ("why",))  # type: ignore[arg-type]
    database.transact(lambda session: jobs.finish(session, taken, verdict, CALM))


def seen(database: Database, bundle: str) -> SubmissionFacts:
    with database.read() as session:
        found = submission(session, bundle)
    assert found is not None
    return found


def verdicts(database: Database) -> int:
    with database.read() as session:
        return session.scalars(select(func.count()).select_from(StoredVerdict)).one()


def ready_now(database: Database) -> None:
    database.transact(lambda session: session.execute(update(Job).values(not_before=0.0)))


@pytest.fixture
def bundle(database: Database, depot: Depot, tmp_path: Path) -> str:
    with_accounts(database)
    return admitted(database, depot, tmp_path)


def test_a_job_goes_through_its_states(database: Database, bundle: str) -> None:
    assert seen(database, bundle).state == "queued"
    taken = take(database)
    assert (taken.bundle, taken.attempt, taken.nonce) == (bundle, 1, seen(database, bundle).nonce)
    assert nothing_to_take(database)
    assert database.transact(lambda session: jobs.renew(session, taken, "re-scoring 2 of 3: \x1b[31mred"))
    assert (seen(database, bundle).state, seen(database, bundle).progress) == (
        "verifying",
        "re-scoring 2 of 3:  [31mred",
    )
    finish(database, taken)
    done = seen(database, bundle)
    assert (done.state, done.level, done.reasons, done.progress) == ("accepted", "re-run", ("why",), "")
    assert [one.kind for one in done.history] == ["submitted", "accepted"]
    assert nothing_to_take(database)


def test_a_dead_workers_job_is_taken_over_and_the_dead_one_changes_nothing(database: Database, bundle: str) -> None:
    dead = take(database, "dead", lease_seconds=-1.0)
    living = take(database, "living")
    assert (living.id, living.attempt) == (dead.id, 2)
    assert not database.transact(lambda session: jobs.renew(session, dead, ""))
    with pytest.raises(LeaseLost):
        finish(database, dead, "refused")
    with pytest.raises(LeaseLost):
        database.transact(lambda session: jobs.fail(session, dead, "late"))
    with pytest.raises(LeaseLost):
        database.transact(lambda session: jobs.give_back(session, dead))
    assert seen(database, bundle).state == "verifying"
    finish(database, living)
    with pytest.raises(LeaseLost):
        finish(database, living)
    assert (verdicts(database), seen(database, bundle).level) == (1, "re-run")


def test_a_lease_that_ran_out_still_counts_while_nobody_else_took_the_job(database: Database, bundle: str) -> None:
    finish(database, take(database, lease_seconds=-1.0))
    assert seen(database, bundle).state == "accepted"


def test_what_fails_is_tried_again_and_at_last_refused(database: Database, bundle: str) -> None:
    for attempt in (1, 2, 3):
        taken = take(database)
        assert taken.attempt == attempt
        again = database.transact(lambda session, taken=taken: jobs.fail(session, taken, "killed by signal 9"))  # type: ignore[misc]
        assert again == (attempt < 3)
        assert nothing_to_take(database)  # there is a pause
        ready_now(database)
    end = seen(database, bundle)
    assert (end.state, len(end.reasons)) == ("refused", 1)
    assert end.reasons[0] == "verification gave no verdict, tried 3 times; the last time: killed by signal 9"


def test_what_kills_its_worker_each_time_is_refused(database: Database, bundle: str) -> None:
    for _ in range(jobs.MOST_ATTEMPTS):
        take(database, lease_seconds=-1.0)
    assert nothing_to_take(database)
    assert seen(database, bundle).state == "refused"
    assert "worker that held it was lost" in seen(database, bundle).reasons[0]
    assert verdicts(database) == 1


def test_a_worker_that_stops_on_purpose_costs_no_attempt(database: Database, bundle: str) -> None:
    for _ in range(5):
        taken = take(database)
        assert taken.attempt == 1
        database.transact(lambda session, taken=taken: jobs.give_back(session, taken))  # type: ignore[misc]
        assert seen(database, bundle).state == "queued"


def test_withdrawing_ends_the_job(database: Database, bundle: str) -> None:
    taken = take(database)
    database.transact(lambda session: withdraw(session, bundle, account_of(KEY)))
    assert not database.transact(lambda session: jobs.renew(session, taken, ""))
    with pytest.raises(LeaseLost):
        finish(database, taken)
    assert seen(database, bundle).state == "withdrawn"
    assert nothing_to_take(database)


def test_an_end_and_its_effect_are_one_transaction(database: Database, bundle: str) -> None:
    taken = take(database)

    def breaks(session: object) -> None:
        jobs.finish(session, taken, Verdict(bundle, "re-run"), CALM)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.transact(breaks)
    assert (seen(database, bundle).state, verdicts(database)) == ("verifying", 0)
    finish(database, taken)


def test_many_workers_do_every_job_once(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    wanted = {admitted(database, depot, tmp_path, f"net{place}") for place in range(12)}
    done: list[str] = []
    lock = threading.Lock()

    def work(name: str) -> None:
        end = time.monotonic() + 30
        while len(done) < len(wanted) and time.monotonic() < end:
            taken = database.transact(lambda session: jobs.take(session, name))
            if taken is not None:
                finish(database, taken)
                with lock:
                    done.append(taken.bundle)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, [f"worker{place}" for place in range(6)]))
    assert sorted(done) == sorted(wanted)
    assert verdicts(database) == len(wanted)
    with database.read() as session:
        assert counter(session, "boards") == len(wanted)


def test_two_that_finish_the_same_job_at_once_have_one_effect(database: Database, bundle: str) -> None:
    taken = take(database)
    gate = threading.Barrier(4)

    def end(_: int) -> bool:
        gate.wait(120)
        try:
            finish(database, taken)
        except LeaseLost:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(end, range(4))) == [False, False, False, True]
    assert verdicts(database) == 1
    assert [one.kind for one in seen(database, bundle).history] == ["submitted", "accepted"]


HOLDER = """
import sys, time
from pathlib import Path
from leaderboard.database import jobs
from leaderboard.database.engine import open_database
from leaderboard.database.rebuild import export_events, rebuild
from leaderboard.database.requeue import requeue
from leaderboard.database.events import Circumstances, Verdict
from leaderboard.server.schemas import as_state

database = open_database(Path(sys.argv[1]), sys.argv[2])

def work(session):
    taken = jobs.take(session, "doomed", 1.0)
    if sys.argv[3] == "inside":
        jobs.finish(session, taken, Verdict(taken.bundle, "re-run"), Circumstances())
        print("ready", flush=True)
        time.sleep(60)

database.transact(work)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("where", ["inside", "after"])
def test_a_process_killed_with_a_job_in_its_hands_leaves_it_to_others(
    database: Database, database_url: str, depot: Depot, bundle: str, where: str
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(depot.path), database_url, where],
        stdout=subprocess.PIPE,
        cwd=HERE.parent,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == b"ready\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait(120)
    end = time.monotonic() + 120
    taken = None
    while taken is None and time.monotonic() < end:
        taken = database.transact(lambda session: jobs.take(session, "next"))
        time.sleep(0.05)
    assert taken is not None
    assert taken.attempt == (1 if where == "inside" else 2)
    finish(database, taken)
    assert verdicts(database) == 1
    assert [one.kind for one in seen(database, bundle).history] == ["submitted", "accepted"]


def test_reading_waits_for_no_writer(tmp_path: Path) -> None:
    opened = open_database(tmp_path)

    def work(_: object) -> None:
        with opened.read() as session:
            assert counter(session, "boards") == 0

    opened.transact(work)
    opened.close()


def test_what_was_decided_is_verified_once_more(database: Database, depot: Depot, bundle: str) -> None:
    """With another nonce, which nobody sees; the earlier verdict stays in the history, and so after a rebuild."""
    manifest = open_bundle(depot.bundle_path(bundle)).manifest

    def again() -> None:
        database.transact(lambda session: requeue(session, manifest, bundle))

    with pytest.raises(EntryError, match="is queued"):
        again()
    first = seen(database, bundle).nonce
    finish(database, take(database), "refused")
    again()
    waiting = seen(database, bundle)
    assert (waiting.state, waiting.reasons, waiting.ahead) == ("queued", (), 0)
    assert as_state(waiting).nonce == "" != waiting.nonce != first
    export_events(database, depot)
    rebuild(database, depot)
    assert seen(database, bundle).nonce == waiting.nonce
    finish(database, take(database))
    assert [one.kind for one in seen(database, bundle).history] == ["submitted", "refused", "requeued", "accepted"]
    again()
    assert seen(database, bundle).state == "queued"
    assert not nothing_to_take(database)


def test_a_name_that_went_to_another_is_not_had_back(database: Database, depot: Depot, tmp_path: Path) -> None:
    with_accounts(database)
    old = admitted(database, depot, tmp_path, "net")
    finish(database, take(database), "refused")
    admitted(database, depot, tmp_path, "net", passes=1)
    manifest = open_bundle(depot.bundle_path(old)).manifest
    with pytest.raises(NameTaken):
        database.transact(lambda session: requeue(session, manifest, old))
    assert seen(database, old).state == "refused"
