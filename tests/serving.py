"""A real server and real workers as processes of their own, and a verifier that takes no time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from stores import FACTS, with_accounts

from leaderboard.database.blob_store import Depot
from leaderboard.database.engine import open_database
from leaderboard.database.suites import write_suite


ROOT = Path(__file__).parent.parent
SECONDS = 120.0

T = TypeVar("T")

# What it does depends on the first word of the entry's name.
STUB = """
import hashlib, json, os, resource, socket, sys, time, zipfile

bundle, rerun, nonce = sys.argv[1:4]
manifest = zipfile.ZipFile(bundle).read("manifest.json")
name = json.loads(manifest)["entry"]["name"]
verdict = {"bundle": hashlib.sha256(manifest).hexdigest(), "level": "re-run" if int(rerun) else "re-scored"}
kind = name.partition("-")[0]
print(f"re-scoring 1 of 2: pid {os.getpid()}", file=sys.stderr, flush=True)
if kind == "slow":
    time.sleep(600)
elif kind == "brief":
    time.sleep(1.5)
elif kind == "crash":
    os.kill(os.getpid(), 9)
elif kind == "hungry":
    verdict["reasons"] = [str(len(bytearray(1 << 30)))]
elif kind == "chatty":
    open("more", "wb").write(bytes(1 << 26))
elif kind == "silent":
    sys.exit(0)
elif kind == "other":
    verdict["bundle"] = "0" * 64
elif kind == "liar":
    verdict["level"] = "refused"
    verdict["reasons"] = ["no"]
    print(json.dumps(verdict))
    sys.exit(0)
elif kind == "curious":
    found = {"environment": sorted(os.environ), "nonce": nonce, "home": os.environ["HOME"], "reached": []}
    for place in ("/tmp/robustarena-was-here", os.path.dirname(bundle) + "/more"):
        try:
            open(place, "x").close()
            found["reached"].append(place)
        except OSError:
            pass
    with socket.socket() as one:
        one.settimeout(2)
        found["network"] = one.connect_ex(("127.0.0.1", int(name.rpartition("-")[2])))
    found["files"] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    verdict["reasons"] = [json.dumps(found)]
elif kind == "bad":
    verdict.update(level="refused", reasons=["3 adversarial examples are over budget; first e004"])
print(json.dumps(verdict))
sys.exit(verdict["level"] == "refused")
"""


@dataclass(frozen=True)
class Place:
    """A store that processes share. token: of the first account of stores.py."""

    folder: Path
    url: str
    stub: Path
    token: str

    @property
    def depot(self) -> Depot:
        return Depot(self.folder)

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "ROBUSTARENA_DATABASE_URL": self.url, "ROBUSTARENA_TOKEN": self.token}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "robustarena", *arguments]

    def verifier(self) -> tuple[str, ...]:
        return (sys.executable, "-S", str(self.stub), "BUNDLE", "RERUN", "NONCE")


def place(folder: Path, url: str) -> Place:
    """A new store with the suite of stores.py, both accounts, and the verifier."""
    depot = Depot(folder / "store")
    write_suite(depot, FACTS)
    database = open_database(depot.path, url)
    token = with_accounts(database)
    database.close()
    stub = folder / "stub.py"
    stub.write_text(STUB)
    return Place(depot.path, url, stub, token)


@contextmanager
def serving(
    where: Place, *options: str, log: Path | None = None
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """A server on a free port, and a client for it; the server is killed at the end unless it has ended."""
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context((log or where.folder / "server.log").open("ab"))
        server = subprocess.Popen(
            where.command("serve", "--store", str(where.folder), "--port", "0", "--any-version", *options),
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
            env=where.environment,
        )
        stack.callback(end, server)
        assert server.stdout is not None
        stack.callback(server.stdout.close)
        address = within(server.stdout.readline).decode().strip()
        assert address.startswith("http://127.0.0.1:"), (log or where.folder / "server.log").read_text()
        client = stack.enter_context(httpx.Client(base_url=address, timeout=30.0, trust_env=False))
        until(lambda: _healthy(client), "the server answers")
        yield client, server


@contextmanager
def working(where: Place, *options: str, lease: float = 2.0) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with the verifier that takes no time; killed at the end unless it has ended."""
    arguments = ("worker", "--store", str(where.folder), "--lease", str(lease), *options, "--", *where.verifier())
    with (where.folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen(where.command(*arguments), stdout=log, stderr=log, cwd=ROOT, env=where.environment)
    try:
        yield worker
    finally:
        end(worker)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that the test started, in good order where it can."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait(15)


def until(wanted: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < deadline, f"waited {seconds} s until {what}"
        time.sleep(0.05)
    return found


def within(call: Callable[[], T], seconds: float = SECONDS) -> T:
    """What a call that may block returns, if it does so in time."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, f"no answer in {seconds} s"
    return found[0]


def post(client: httpx.Client, where: Place, data: bytes, token: str | None = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token is not None else where.bearer
    return client.post("/v1/submissions", content=data, headers=headers)


def state(client: httpx.Client, bundle: str) -> dict[str, Any]:
    answer = client.get(f"/v1/submissions/{bundle}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def reaches(client: httpx.Client, bundle: str, wanted: str) -> dict[str, Any]:
    """Waits until a submission is in a state, and returns what is shown of it."""
    return (
        until(lambda: (found := state(client, bundle))["state"] == wanted and found, f"{bundle[:12]} is {wanted}") or {}
    )


def _healthy(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return bool(client.get("/v1/health").status_code == 200)
    return False
