"""kill -9, at any point, of the server and of workers: what was acknowledged is there, once, and nothing else is."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
from postgres import new_database
from serving import Place, end, place, post, reaches, serving, state, until, working
from stores import SUITE, make_bundle
from synthetic import IMAGE


both = pytest.mark.parametrize("where", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A store on SQLite, or on what the test asks for."""
    (tmp_path / "store").mkdir()
    postgresql = getattr(request, "param", "sqlite") == "postgresql"
    return place(tmp_path, new_database() if postgresql else f"sqlite:///{tmp_path}/store/board.sqlite3")


def bundle(folder: Path, name: str) -> tuple[str, bytes]:
    path = folder / f"{name}.rab"
    made = make_bundle(path, name)
    return made, path.read_bytes()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.slow
def test_a_server_killed_in_an_upload_loses_nothing_that_it_acknowledged(where: Place, tmp_path: Path) -> None:
    first, first_data = bundle(tmp_path, "first")
    second, second_data = bundle(tmp_path, "second")
    with serving(where) as (client, server):
        assert post(client, where, first_data).status_code == 201
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as upload:
            head = f"POST /v1/submissions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {where.token}\r\n"
            upload.sendall(f"{head}content-length: {len(second_data)}\r\n\r\n".encode())
            upload.sendall(second_data[: len(second_data) // 2])
            until(lambda: list((where.folder / "uploads").glob("*.part")), "the upload has begun")
            server.kill()
            server.wait(15)
    with serving(where) as (client, _):
        assert state(client, first)["state"] == "queued"
        assert client.get(f"/v1/submissions/{second}").status_code == 404
        assert list(where.depot.ids()) == [first]
        assert post(client, where, second_data).status_code == 201
        with working(where, "--once") as worker:
            assert worker.wait(60) == 0
        for one in (first, second):
            assert reaches(client, one, "accepted")["attempts"] == 1


@pytest.mark.slow
@both
def test_a_server_killed_again_and_again_while_clients_submit(where: Place, tmp_path: Path) -> None:
    made = dict(bundle(tmp_path, f"net{number:02}") for number in range(24))
    address: list[str] = []
    acknowledged: set[str] = set()
    stop = threading.Event()

    def send(some: list[str]) -> None:
        with httpx.Client(trust_env=False, headers=where.bearer, timeout=20.0) as client:
            for one in some:
                while one not in acknowledged and not stop.is_set():
                    with contextlib.suppress(httpx.TransportError):
                        answer = client.post(f"{address[-1]}/v1/submissions", content=made[one])
                        assert answer.status_code in (200, 201), answer.text
                        acknowledged.add(one)
                    time.sleep(0.1)

    names = list(made)
    senders = [threading.Thread(target=send, args=(names[number::4],), daemon=True) for number in range(4)]
    try:
        for round_ in range(2):
            with serving(where, "--submissions", "0", "--requests", "0") as (client, server):
                address.append(str(client.base_url).rstrip("/"))
                if not round_:
                    for one in senders:
                        one.start()
                until(lambda: len(acknowledged) >= 8 * (round_ + 1), "some more are acknowledged")  # noqa: B023
                time.sleep(random.Random(round_).random() / 20)
                server.kill()
                server.wait(15)
            known = set(acknowledged)
        with serving(where, "--submissions", "0", "--requests", "0") as (client, _):
            address.append(str(client.base_url).rstrip("/"))
            assert all(state(client, one)["state"] == "queued" for one in known)
            for sender in senders:
                sender.join(60)
            assert acknowledged == set(made)
            for one in made:
                assert [line["kind"] for line in state(client, one)["history"]] == ["submitted"]
                assert where.depot.bundle_path(one).read_bytes() == made[one]
    finally:
        stop.set()
        for sender in senders:
            sender.join(30)


@pytest.mark.slow
@both
def test_a_killed_workers_job_is_anothers_and_its_verifier_dies_with_it(where: Place, tmp_path: Path) -> None:
    made, data = bundle(tmp_path, "brief")
    slow, slow_data = bundle(tmp_path, "slow")
    with serving(where) as (client, _):
        post(client, where, slow_data)
        with working(where) as worker:
            seen = until(lambda: (now := state(client, slow))["progress"] and now, "progress is shown")
            verifier = int(seen["progress"]["text"].rpartition(" ")[2])
            assert not gone(verifier)
            worker.send_signal(signal.SIGKILL)
            worker.wait(15)
        until(lambda: gone(verifier), "the verifier has died")
        assert client.post(f"/v1/submissions/{slow}/withdraw", headers=where.bearer).status_code == 200
        post(client, where, data)
        for attempt in (1, 2):
            with working(where, lease=0.6) as worker:
                until(lambda: state(client, made)["attempts"] == attempt, "it is taken")  # noqa: B023
                worker.send_signal(signal.SIGKILL)
                worker.wait(15)
        with working(where), working(where):
            done = reaches(client, made, "accepted")
        assert done["attempts"] == 3
        assert [line["kind"] for line in done["history"]] == ["submitted", "accepted"]
        board = until(
            lambda: client.get(f"/v1/boards/{SUITE}", params={"task": IMAGE}).json().get("entries"),
            "it is on the board",
        )
        assert [line["origin"]["bundle"] for line in board] == [made]


def test_a_worker_that_is_told_to_stop_gives_its_job_back(where: Place, tmp_path: Path) -> None:
    made, data = bundle(tmp_path, "slow")
    with serving(where) as (client, _):
        post(client, where, data)
        with working(where, lease=60.0) as worker:
            reaches(client, made, "verifying")
            seen = until(lambda: (now := state(client, made))["progress"] and now, "progress is shown")
            end(worker)
            assert worker.returncode == 0
        now = state(client, made)
        assert (now["state"], now["attempts"]) == ("queued", 0)
        assert gone(int(seen["progress"]["text"].rpartition(" ")[2]))
        assert not list((where.folder / "scratch").iterdir())


def test_a_withdrawn_entrys_verification_is_ended(where: Place, tmp_path: Path) -> None:
    made, data = bundle(tmp_path, "slow")
    with serving(where) as (client, _), working(where):
        post(client, where, data)
        seen = until(lambda: (now := state(client, made))["progress"] and now, "progress is shown")
        pid = int(seen["progress"]["text"].rpartition(" ")[2])
        assert client.post(f"/v1/submissions/{made}/withdraw", headers=where.bearer).status_code == 200
        until(lambda: gone(pid), "the verifier has died")
        assert state(client, made)["state"] == "withdrawn"
