"""The worker: takes verifications from the store, one at a time, any number of workers on any number of machines."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import threading
import time
from types import FrameType
from typing import Final

from sqlalchemy.exc import DBAPIError

from leaderboard.database import jobs
from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import Database, open_database
from leaderboard.database.events import Circumstances
from leaderboard.database.jobs import LeaseLost, Taken
from leaderboard.database.rebuild import export_events
from leaderboard.records.verdict import Verdict
from leaderboard.server.confine import CUT
from leaderboard.server.settings import WorkerSettings
from leaderboard.server.verifying import Verification, run_verifier


log = logging.getLogger(__name__)

MOST_RERUN: Final = 10_000
RENEWALS: Final = 4  # in the time of a lease
PROGRESS_SECONDS: Final = 0.5  # between two lines of progress


class Worker:
    """Takes jobs until stop() is called. A job that is stopped goes back to the queue at once."""

    def __init__(self, settings: WorkerSettings, database: Database, depot: Depot) -> None:
        self._settings, self._database, self._depot = settings, database, depot
        self._name = settings.name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def run(self, *, once: bool = False) -> int:
        """Works until stopped, or until nothing waits where once; returns how many jobs were ended here."""
        count = 0
        while not self._stop.is_set():
            try:
                taken = self._take()
                if taken is not None:
                    count += self._work(taken)
                    continue
            except DBAPIError as error:
                # What was in hand stays under its lease, and is taken over when that runs out.
                log.error("the store does not answer: %s", error)
            if once:
                break
            self._stop.wait(self._settings.poll_seconds)
        return count

    def _take(self) -> Taken | None:
        settings = self._settings
        return self._database.transact(
            lambda session: jobs.take(session, self._name, settings.lease_seconds, settings.most_attempts)
        )

    def _work(self, taken: Taken) -> bool:
        """Whether the job ended here, and was not given back or lost."""
        log.info("%s: attempt %d", taken.bundle[:12], taken.attempt)
        started = time.monotonic()
        scratch = self._depot.new_scratch()
        lease = _Lease(self._database, taken, self._settings.lease_seconds, self._stop)
        try:
            path = self._depot.bundle_path(taken.bundle)
            rerun = _rerun(self._settings, taken)
            outcome = run_verifier(self._settings, path, taken.bundle, (taken.nonce, rerun), scratch, lease.alive)
        except OSError:
            log.exception("%s: the verifier could not be run", taken.bundle[:12])
            outcome = Verification(None, "it could not be started")
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if outcome.network not in (CUT, ""):
            log.warning("%s: the network of the verifier was %s", taken.bundle[:12], outcome.network)
        if outcome.files and not outcome.files.startswith("confined"):
            log.warning("%s: the files of the verifier were %s", taken.bundle[:12], outcome.files)
        try:
            ended = self._conclude(taken, outcome, time.monotonic() - started)
        except LeaseLost:
            log.warning("%s: withdrawn, or another worker took it over", taken.bundle[:12])
            return False
        export_events(self._database, self._depot, taken.bundle)
        return ended

    def _conclude(self, taken: Taken, outcome: Verification, seconds: float) -> bool:
        settings, transact = self._settings, self._database.transact
        if outcome.stopped:
            transact(lambda session: jobs.give_back(session, taken))
            log.info("%s: given back", taken.bundle[:12])
            return False
        if outcome.verdict is None and not outcome.final:
            log.warning("%s: %s", taken.bundle[:12], outcome.trouble)
            return not transact(lambda session: jobs.fail(session, taken, outcome.trouble, settings.most_attempts))
        verdict = outcome.verdict or Verdict(taken.bundle, "refused", (f"verification: {outcome.trouble}",))
        circumstances = Circumstances(
            worker=self._name,
            rerun=_rerun(settings, taken),
            attempt=taken.attempt,
            network=outcome.network,
            files=outcome.files,
            seconds=round(seconds, 3),
        )
        transact(lambda session: jobs.finish(session, taken, verdict, circumstances))
        log.info("%s: %s after %.1f s", taken.bundle[:12], verdict.level, seconds)
        return True


def _rerun(settings: WorkerSettings, taken: Taken) -> int:
    """How many cells are measured again: as many again for each strike of the account."""
    return min(settings.rerun * (1 + taken.strikes), MOST_RERUN)


class _Lease:
    """Renews a lease while its job is worked on, and passes progress on."""

    def __init__(self, database: Database, taken: Taken, seconds: float, stop: threading.Event) -> None:
        self._database, self._taken, self._seconds, self._stop = database, taken, seconds, stop
        self._renewed = time.monotonic()
        self._shown = ""

    def alive(self, progress: str) -> bool:
        """Whether to go on: the job is still this worker's, and the worker was not asked to stop."""
        if self._stop.is_set():
            return False
        age = time.monotonic() - self._renewed
        news = progress != self._shown and age > min(PROGRESS_SECONDS, self._seconds / RENEWALS)
        if not news and age < self._seconds / RENEWALS:
            return True
        try:
            held = self._database.transact(lambda session: jobs.renew(session, self._taken, progress, self._seconds))
        except DBAPIError as error:
            log.warning("the lease could not be renewed: %s", error)
            return age < self._seconds
        self._renewed, self._shown = time.monotonic(), progress
        return held


def work(settings: WorkerSettings, *, once: bool = False) -> int:
    """Opens the store and works; SIGTERM and SIGINT end it in good order. Returns how many jobs were ended."""
    depot = Depot(settings.folder)
    database = open_database(settings.folder, settings.database_url)
    worker = Worker(settings, database, depot)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        worker.stop()

    previous = {one: signal.signal(one, stop) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        depot.sweep()
        export_events(database, depot)
        return worker.run(once=once)
    finally:
        for one, handler in previous.items():
            signal.signal(one, handler)
        database.close()
