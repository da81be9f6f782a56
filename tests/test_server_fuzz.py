"""Thousands of damaged bundles sent to a running server: none gets in, none stops it, none leaves anything behind."""

from __future__ import annotations

import itertools
import random
import socket
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from broken_bundles import Files, packed
from serving import Place, place, post, serving, state, until
from sqlalchemy import select
from stores import make_bundle
from test_bundle import everything_in, small
from test_bundle_fuzz import DAMAGED, damaged

from leaderboard.database.engine import open_database
from leaderboard.database.models import Event, Job, StoredBundle, StoredEntry


SENDERS = 4
WARMING = 500  # requests before the server's memory is looked at
MOST_GROWTH = 8 << 20  # bytes; 5,000 bundles are 35 MB, so that a server that keeps them is seen
MOST_FILES = 16  # more that are open than before


class Server(NamedTuple):
    where: Place
    client: httpx.Client
    pid: int


class Sent(NamedTuple):
    """What was done to a bundle, the bundle, and what the server answered."""

    how: str
    body: bytes
    answer: httpx.Response


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server without limits for accounts and addresses; it must still run in the end, and have seen no error."""
    where = place(folder, f"sqlite:///{folder}/store/board.sqlite3")
    with serving(where, "--requests", "0", "--submissions", "0", "--most-megabytes", "2") as (client, process):
        yield Server(where, client, process.pid)
        assert process.poll() is None
        assert "Traceback" not in (where.folder / "server.log").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("fuzzed")) as found:
        yield found


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("genuine") / "entry"
    small().write(folder)
    return everything_in(folder)


def memory(pid: int) -> int:
    """Bytes that a process keeps in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def kept(where: Place) -> dict[str, set[str]]:
    """All that a store holds: its files, and the bundles, entries, jobs and history of its database."""
    places = ("bundles", "uploads", "scratch")
    files = (path for one in places for path in (where.folder / one).rglob("*") if path.is_file())
    found = {"files": {str(path.relative_to(where.folder)) for path in files}}
    columns = {"bundles": StoredBundle.id, "entries": StoredEntry.id, "jobs": Job.bundle, "history": Event.bundle}
    database = open_database(where.folder, where.url)
    with database.read() as session:
        for table, column in columns.items():
            found[table] = set(session.scalars(select(column)))
    database.close()
    return found


def sent(server: Server, bodies: Iterable[tuple[str, bytes]]) -> Iterator[Sent]:
    """Each bundle with the server's answer, several at once. A connection that it drops is an error here."""

    def one(named: tuple[str, bytes]) -> Sent:
        try:
            return Sent(*named, post(server.client, server.where, named[1]))
        except httpx.TransportError as error:
            raise AssertionError(f"{named[0]}: {type(error).__name__}: {error}") from error

    with ThreadPoolExecutor(SENDERS) as pool:
        yield from pool.map(one, bodies)


def detail_of(one: Sent) -> str:
    """Why the server refused; it says so in one text, and names no path of its own."""
    assert 400 <= one.answer.status_code < 500, f"{one.how}: {one.answer.status_code} {one.answer.text}"
    plain = one.answer.json()
    assert list(plain) == ["detail"], f"{one.how}: {plain}"
    assert isinstance(plain["detail"], str)
    assert plain["detail"], one.how
    assert "uploads" not in plain["detail"], f"{one.how}: {plain['detail']}"
    return plain["detail"]


def is_well(server: Server, folder: Path, name: str) -> None:
    """The server still takes what is right: a good bundle of this name."""
    assert server.client.get("/v1/health").json()["status"] == "ok"
    made = make_bundle(folder / f"{name}.rab", name)
    answer = post(server.client, server.where, (folder / f"{name}.rab").read_bytes())
    assert answer.status_code == 201, answer.text
    assert state(server.client, made)["state"] == "queued"
    assert made in kept(server.where)["jobs"]


def damaged_zips(genuine: Files, folder: Path, count: int) -> Iterator[tuple[str, bytes]]:
    """Damage of test_bundle_fuzz.py that is one file, by its seed and what was done."""
    whole, seed = packed(genuine), 0
    while count:
        how, path = damaged(genuine, whole, random.Random(seed), folder)
        if path.is_file():
            yield f"seed {seed} ({how})", path.read_bytes()
            count -= 1
        seed += 1


@pytest.mark.slow
def test_no_damaged_bundle_gets_into_a_server(server: Server, genuine: Files, tmp_path: Path) -> None:
    before = kept(server.where)
    bodies = damaged_zips(genuine, tmp_path, DAMAGED)
    first = list(sent(server, itertools.islice(bodies, WARMING)))
    size, handles = memory(server.pid), open_files(server.pid)
    codes: Counter[int] = Counter()
    reasons: set[str] = set()
    for one in itertools.chain(first, sent(server, bodies)):
        codes[one.answer.status_code] += 1
        reasons.add(detail_of(one).partition(":")[2][:25])
    assert codes == {422: DAMAGED}
    assert len(reasons) > 60, "the damage is too much of one kind"
    assert memory(server.pid) - size < MOST_GROWTH
    assert open_files(server.pid) - handles < MOST_FILES
    assert kept(server.where) == before
    is_well(server, tmp_path, "after-damage")


def test_uploads_that_are_cut_off_leave_nothing(server: Server, genuine: Files, tmp_path: Path) -> None:
    before, whole = kept(server.where), packed(genuine)
    head = f"POST /v1/submissions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server.where.token}\r\n"
    address = (server.client.base_url.host, server.client.base_url.port or 0)

    def uploads() -> list[Path]:
        return list((server.where.folder / "uploads").glob("*"))

    for seed in range(30):
        draw = random.Random(seed)
        size = draw.choice((f"content-length: {len(whole)}", "content-length: 900000", "transfer-encoding: chunked"))
        part = whole[: draw.randrange(len(whole))]
        with socket.create_connection(address) as upload:
            upload.sendall(f"{head}{size}\r\n\r\n".encode())
            upload.sendall(f"{len(whole):x}\r\n".encode() + part if "chunked" in size else part)
            until(uploads, f"upload {seed} has begun")
        until(lambda: not uploads(), f"nothing is left of upload {seed}")
    assert kept(server.where) == before
    is_well(server, tmp_path, "after-cuts")
