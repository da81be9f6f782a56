"""How fast a server answers, and whether it grows, with ten thousand entries in its store: `make load`.

The server has one core and the clients another. Not a test: what it prints goes into docs/server.md.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks.suites.mini_2 import SUITE as MINI_2
from leaderboard.bundle.manifest import Benchmark, EntryFacts
from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import account_of, generate_key
from leaderboard.bundle.writing import Parts, write_bundle
from leaderboard.database.accounts import issue_token
from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import open_database
from leaderboard.database.history import BOARDS, raise_counter
from leaderboard.database.models import StoredBundle, StoredEntry, StoredResult
from leaderboard.database.scoring import basis_of, pack, score_entry, unpack
from leaderboard.database.suites import SuiteFacts, write_suite
from leaderboard.records.metric import Metric
from leaderboard.records.record import Cell, Cost, Examples, Result
from leaderboard.scoring.statistics import Sample


TASK: Final = "image-digits"
EXAMPLES: Final = 100
CLIENTS: Final = 4
PATHS: Final = {
    "API": f"/v1/boards/{MINI_2.name}",
    "API, page 50": f"/v1/boards/{MINI_2.name}?page=50",
    "board page": f"/boards/{MINI_2.name}",
    "task page": f"/boards/{MINI_2.name}/tasks/{TASK}",
}
FACTS: Final = SuiteFacts(MINI_2.name, dict(MINI_2.ranking_threats), tuple(MINI_2.unrealisable))


def seed(folder: Path, entries: int) -> None:
    """A store with so many accepted entries, each with its own sample of outcomes."""
    depot, database, key = Depot(folder), open_database(folder), generate_key()
    write_suite(depot, FACTS)
    account = account_of(key)
    database.transact(lambda session: issue_token(session, account, "Load"))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "one.rab"
        records = [_record(attack) for attack in ("none", "noise", "pgd", "apgd-t")]
        parts = Parts(
            entry=EntryFacts("one", TASK, "none", "", ""),
            suite=MINI_2.name,
            benchmark=Benchmark("0", "1"),
            model_hash="0" * 64,
            data_hash="d" * 64,
            plan={one.id: one.cell.label for one in records},
        )
        write_bundle(path, parts, records=records, evidence={}, model_files={}, key=key)
        scored = score_entry(open_bundle(path), (), FACTS)
    base, row = unpack(scored.sample, {}), msgspec.json.decode(scored.row)
    draw = np.random.default_rng(0)

    def fill(session: Any) -> None:
        for number in range(entries):
            name, bundle = f"entry-{number:05}", f"{number:064x}"
            facts = {"suite": MINI_2.name, "task": TASK, "name": name, "defense": "none", "url": "", "licence": ""}
            session.add(StoredBundle(id=bundle, kind="entry", account=account, target=None, model_hash=bundle,
                                     data_hash="d" * 64, size=1, **facts))  # fmt: skip
            session.flush()
            session.add(StoredEntry(id=bundle, state="accepted", level="re-run", reasons="[]", nonce="0" * 64,
                              holds=f"{MINI_2.name}/{TASK}/{name}", created=1.0, changed=1.0))  # fmt: skip
            values = (draw.random(EXAMPLES) < draw.random()).astype(np.float64)
            sample = Sample(base.task, base.metric, base.ids, values, base.weights)
            (ranking,) = (one for one in row["threats"] if one["ranking"])
            robust = {**ranking["robust"], "quality": float(values.mean()), "metric": float(values.mean())}
            threats = [{**one, "robust": robust} if one["ranking"] else one for one in row["threats"]]
            lowered = {**row, "entry": name, "robust": robust, "threats": threats}
            session.add(
                StoredResult(bundle=bundle, suite=MINI_2.name, task=TASK, basis=basis_of(bundle, (), FACTS),
                             row=msgspec.json.encode(lowered), sample=pack(sample), clean=scored.clean)
            )  # fmt: skip
        raise_counter(session, BOARDS)

    database.transact(fill)
    database.close()


def _record(attack: str) -> Result:
    access = {"none": "", "noise": "@none"}.get(attack, "@gradient")
    threat = "none" if attack == "none" else FACTS.ranking_threats[TASK].partition("@")[0] + access
    cell = Cell(TASK, "d" * 64, "test", None, "one", "0" * 64, "none", attack, {}, threat, "flip", 0, "float32", 64,
                "cpu", 1, {}, {})  # fmt: skip
    values = tuple(float(attack == "none" or number % 3 > 0) for number in range(EXAMPLES))
    ids = tuple(f"e{number:03}" for number in range(EXAMPLES))
    examples = Examples(ids, values, (1.0,) * EXAMPLES, (0.0,) * EXAMPLES)
    return Result(cell.id, cell, "ok", metric=Metric("accuracy", 0.0, 1.0), examples=examples, cost=Cost(EXAMPLES))


@dataclass
class Load:
    """What clients measured: seconds of each request, and answers that were not 200."""

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0


def drive(port: int, path: str, seconds: float) -> Load:
    """Several clients ask for a path as fast as they get answers."""
    load, end = Load(), time.monotonic() + seconds

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            start = time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            load.seconds.append(time.perf_counter() - start)
            load.wrong += answer.status != 200
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return load


def ready(port: int) -> bool:
    """Whether the boards are there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.suppress(OSError), contextlib.closing(connection):
        connection.request("GET", PATHS["API"])
        return connection.getresponse().status == 200
    return False


def memory_mb(process: int) -> float:
    """Resident memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "board"
        seed(store, given.entries)
        print(f"{given.entries} entries are in the store", flush=True)
        command = [
            sys.executable,
            "-m",
            "robustarena",
            "serve",
            "--store",
            str(store),
            "--port",
            "0",
            "--requests",
            "0",
        ]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().rpartition(":")[2])
            start = time.monotonic()
            while not ready(port):
                time.sleep(1)
            print(f"ranked after {time.monotonic() - start:.0f} s, {memory_mb(server.pid):.0f} MB", flush=True)
            cores = sorted(os.sched_getaffinity(0))
            for task in Path(f"/proc/{server.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), cores[:1])
            os.sched_setaffinity(0, cores[1:] or cores)
            _measure(port, server.pid, given.minutes * 60)
        finally:
            server.terminate()
            server.wait(30)


def _measure(port: int, process: int, seconds: float) -> None:
    each = 15.0
    end, first = time.monotonic() + seconds, True
    while first or time.monotonic() < end:
        for name, path in PATHS.items():
            load = drive(port, path, each)
            if first:
                # The first requests render pages that lie ready afterwards.
                load = drive(port, path, each)
            rate, median = len(load.seconds) / each, 1000 * statistics.median(load.seconds)
            worst = 1000 * sorted(load.seconds)[int(0.99 * len(load.seconds))]
            print(f"{name:<14} {rate:6.0f} requests/s, median {median:5.1f} ms, 99% {worst:5.1f} ms, "
                  f"{load.wrong} wrong, {memory_mb(process):.0f} MB", flush=True)  # fmt: skip
        first = False


if __name__ == "__main__":
    main()
