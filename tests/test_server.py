"""A real server and real workers, over HTTP, on SQLite and on PostgreSQL: from a bundle to a line on a board."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from click.testing import CliRunner, Result
from postgres import new_database
from serving import Place, place, post, reaches, serving, state, until, working
from stores import KEY, STRANGER, SUITE, make_bundle
from synthetic import IMAGE

from benchmarks.cli.main import cli
from leaderboard.bundle.signing import account_of
from leaderboard.database.accounts import issue_token, revoke_token
from leaderboard.database.engine import open_database


class Running(NamedTuple):
    where: Place
    client: httpx.Client


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server and two workers."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "store").mkdir()
    url = new_database() if request.param == "postgresql" else f"sqlite:///{folder}/store/board.sqlite3"
    where = place(folder, url)
    with (
        serving(where, "--requests", "0", "--submissions", "0", "--most-megabytes", "1") as (client, _),
        working(where),
        working(where),
    ):
        yield Running(where, client)


def bundle(folder: Path, name: str, **changes: Any) -> tuple[str, bytes]:
    """A bundle's id and its bytes."""
    path = folder / f"{name}.rab"
    made = make_bundle(path, name, **changes)
    return made, path.read_bytes()


def token_for(where: Place, key: Any, *, revoked: bool = False) -> str:
    database = open_database(where.folder, where.url)
    token = database.transact(lambda session: issue_token(session, account_of(key), "Someone"))
    if revoked:
        database.transact(lambda session: revoke_token(session, token))
    database.close()
    return token


def stored(where: Place) -> set[str]:
    """Every file of the store but the database's and the logs."""
    return {path.name for kind in ("bundles", "uploads") for path in (where.folder / kind).rglob("*") if path.is_file()}


def listed(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    number = 1
    while True:
        page = client.get(f"/v1/boards/{SUITE}", params={**query, "page": number}).json()
        found += page["entries"]
        if number == page["pages"]:
            return found
        number += 1


def test_from_a_bundle_to_a_line_on_the_board(running: Running, tmp_path: Path) -> None:
    where, client = running
    made, data = bundle(tmp_path, "brief-one", right=31)
    answer = post(client, where, data)
    assert answer.status_code == 201, answer.text
    first = answer.json()
    assert (first["id"], first["state"], first["created_now"], first["nonce"]) == (made, "queued", True, "")
    assert answer.headers["location"] == f"/v1/submissions/{made}"
    page = client.get(f"/submissions/{made}")
    assert 'http-equiv="refresh"' in page.text
    seen = until(lambda: (now := state(client, made))["progress"] and now, "progress is shown")
    assert seen["progress"]["done"] == 1
    assert seen["progress"]["of"] == 2
    done = reaches(client, made, "accepted")
    assert (done["level"], len(done["nonce"]), done["submitter"]) == ("re-run", 64, "Ada")
    assert [line["kind"] for line in done["history"]] == ["submitted", "accepted"]
    assert done["history"][1]["network"]
    until(
        lambda: any(line["origin"]["bundle"] == made for line in listed(client, task=IMAGE)),
        "the entry is on the board",
    )
    line = next(line for line in listed(client, task=IMAGE) if line["origin"]["bundle"] == made)
    assert line["rank"]["best"] >= 1
    assert line["origin"]["level"] == "re-run"
    assert line["robust"]["quality"] < 31 / 40 < line["clean"]["quality"] == 1
    assert "brief-one" in client.get(f"/boards/{SUITE}").text
    for path in ("/", f"/boards/{SUITE}/tasks/{IMAGE}", f"/boards/{SUITE}/entries/brief-one"):
        assert "brief-one" in client.get(path).text, path
    assert "Ada" in client.get(f"/boards/{SUITE}/entries/brief-one").text
    assert IMAGE in client.get(f"/boards/{SUITE}/scores").text
    assert "accepted" in client.get(f"/submissions/{made}").text
    details = client.get(f"/v1/entries/{made}").json()
    assert details["row"]["entry"] == "brief-one"
    assert client.get(f"/v1/entries/{made}/bundle").content == data


def test_the_same_bundle_twice_is_one_entry(running: Running, tmp_path: Path) -> None:
    where, client = running
    made, data = bundle(tmp_path, "twice")
    assert post(client, where, data).status_code == 201
    before = reaches(client, made, "accepted")
    again = post(client, where, data)
    assert again.status_code == 200
    assert again.json()["created_now"] is False
    assert state(client, made) == before
    taken = post(client, where, bundle(tmp_path, "twice", right=3)[1])
    assert taken.status_code == 409
    assert "withdraw it first" in taken.json()["detail"]


def test_fifty_clients_at_once_are_all_there_once(running: Running, tmp_path: Path) -> None:
    where, client = running
    made = [bundle(tmp_path, f"crowd-{number:02}", right=number % 40, total=40) for number in range(50)]

    def send(number: int) -> int:
        return post(client, where, made[number % 50][1]).status_code

    with ThreadPoolExecutor(50) as pool:
        codes = list(pool.map(send, [*range(50), *range(10)]))  # ten of them are sent twice at once
    assert sorted(codes) == [200] * 10 + [201] * 50
    for one, _ in made:
        reaches(client, one, "accepted")
    wanted = {one for one, _ in made}

    def shown() -> bool:
        found = [line["origin"]["bundle"] for line in listed(client, task=IMAGE) if line["origin"]["bundle"] in wanted]
        return len(found) == 50 and set(found) == wanted

    until(shown, "all fifty are on the board")
    for one, data in made:
        seen = state(client, one)
        assert [line["kind"] for line in seen["history"]] == ["submitted", "accepted"]
        assert where.depot.bundle_path(one).read_bytes() == data


def test_who_may_submit(running: Running, tmp_path: Path) -> None:
    where, client = running
    made, data = bundle(tmp_path, "mine")
    before = stored(where)
    for token, status, reason in (
        ("ra_", 401, "wrong or revoked"),
        ("ra_00000000_" + "x" * 43, 401, "wrong or revoked"),
        (token_for(where, KEY, revoked=True), 401, "wrong or revoked"),
        (token_for(where, STRANGER), 403, "the token of account"),
    ):
        answer = post(client, where, data, token)
        assert (answer.status_code, reason in answer.json()["detail"]) == (status, True), answer.text
    assert client.post("/v1/submissions", content=data).status_code == 401
    assert stored(where) == before
    assert client.get(f"/v1/submissions/{made}").status_code == 404
    assert client.get("/v1/submissions/..%2F..%2Fetc").status_code == 404


def test_what_is_damaged_is_refused_with_its_reason_and_nothing_is_stored(running: Running, tmp_path: Path) -> None:
    where, client = running
    _, data = bundle(tmp_path, "whole")
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    _, foreign = bundle(tmp_path, "foreign", suite="other@1")
    before = stored(where)
    for sent, reason in (
        (b"", "a zip has at least"),
        (b"\x80\x04K\x01." * 10, "not a bundle"),
        (data[:-7], "it is cut"),
        (bytes(flipped), ""),
        (data + b"more", "it is cut, or something was added"),
        (foreign, "suite other@1 has no board here; known: "),
    ):
        answer = post(client, where, sent)
        assert answer.status_code == 422, answer.text
        assert reason in answer.json()["detail"]
        assert str(where.folder) not in answer.text
    assert stored(where) == before


def test_a_hundred_damaged_bundles_do_not_stop_the_server(running: Running, tmp_path: Path) -> None:
    where, client = running
    _, data = bundle(tmp_path, "fuzzed")
    before, draw = stored(where), random.Random(4)
    for _ in range(100):
        damaged = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(damaged))
            match draw.randrange(3):
                case 0:
                    damaged[at] ^= 1 << draw.randrange(8)
                case 1:
                    del damaged[at : at + draw.randint(1, 200)]
                case _:
                    damaged[at:at] = draw.randbytes(draw.randint(1, 200))
        assert post(client, where, bytes(damaged)).status_code == 422
    assert stored(where) == before
    assert client.get("/v1/health").status_code == 200


def test_a_refused_bundle_says_why_and_frees_its_name(running: Running, tmp_path: Path) -> None:
    where, client = running
    made, data = bundle(tmp_path, "bad-one")
    post(client, where, data)
    seen = reaches(client, made, "refused")
    assert seen["reasons"] == ["3 adversarial examples are over budget; first e004"]
    assert "over budget" in client.get(f"/submissions/{made}").text
    assert client.get(f"/v1/entries/{made}/bundle").status_code == 404
    assert all(line["origin"]["bundle"] != made for line in listed(client, task=IMAGE))
    assert post(client, where, bundle(tmp_path, "bad-one", right=7)[1]).status_code == 201


def test_a_bundle_that_is_too_large_is_refused(running: Running) -> None:
    where, client = running
    before = stored(where)
    big = bytes(20_000_000)
    assert post(client, where, big).status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(300):
            yield bytes(65_536)

    answer = client.post("/v1/submissions", content=chunks(), headers=where.bearer)
    assert answer.status_code == 413
    assert "at most" in answer.json()["detail"]
    assert client.post(f"/v1/submissions/{'0' * 64}/withdraw", content=bytes(100_000)).status_code == 413
    assert stored(where) == before


def test_withdrawn_entries_leave_the_board_and_keep_their_history(running: Running, tmp_path: Path) -> None:
    where, client = running
    made, data = bundle(tmp_path, "leaving")
    post(client, where, data)
    reaches(client, made, "accepted")
    until(lambda: made in str(listed(client, task=IMAGE)), "it is shown")
    address = f"/v1/submissions/{made}/withdraw"
    assert client.post(address).status_code == 401
    other = {"authorization": f"Bearer {token_for(where, STRANGER)}"}
    assert client.post(address, headers=other).status_code == 403
    answer = client.post(address, headers=where.bearer)
    assert (answer.status_code, answer.json()["state"]) == (200, "withdrawn")
    assert client.post(address, headers=where.bearer).status_code == 200
    until(lambda: made not in str(listed(client, task=IMAGE)), "it is off the board")
    assert [line["kind"] for line in state(client, made)["history"]] == ["submitted", "accepted", "withdrawn"]
    assert post(client, where, data).json()["state"] == "withdrawn"


def test_boards_have_etags_and_pages(running: Running) -> None:
    _, client = running
    index = client.get("/v1/boards")
    assert SUITE in {one["suite"] for one in index.json()["boards"]}
    found = client.get(f"/v1/boards/{SUITE}")
    assert (found.headers["cache-control"], found.json()["page"]) == ("no-cache", 1)
    tag = found.headers["etag"]
    for asked in (tag, f'W/{tag}, "other"'):
        same = client.get(f"/v1/boards/{SUITE}", headers={"if-none-match": asked})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert client.get(f"/v1/boards/{SUITE}", headers={"if-none-match": '"other"'}).status_code == 200
    assert client.get(f"/v1/boards/{SUITE}", params={"page": 99}).status_code == 404
    for gone in ("/v1/boards/none@1", f"/boards/{SUITE}/tasks/none", f"/boards/{SUITE}/entries/none", "/boards/none"):
        assert client.get(gone).status_code == 404
    names = [line["entry"] for line in found.json()["entries"]][:2]
    if len(names) == 2:
        pair = client.get(f"/boards/{SUITE}/compare/{names[0]}/{names[1]}")
        assert pair.status_code == 200
        assert all(name in pair.text for name in names)
    rows = client.get(f"/boards/{SUITE}/table.json").json()["rows"]
    assert len(rows) == found.json()["total"]
    assert client.get(f"/boards/{SUITE}/tasks/{IMAGE}/table.json").status_code == 200
    bad = client.get(f"/v1/boards/{SUITE}", params={"page": "x"})
    assert (bad.status_code, "page" in bad.json()["detail"]) == (422, True)


def test_every_answer_is_locked_down(running: Running) -> None:
    _, client = running
    for path in (
        "/",
        f"/boards/{SUITE}",
        "/boards/none",
        f"/submissions/{'0' * 64}",
        "/nothing",
        "/v1/boards",
        "/v1/x",
    ):
        headers = client.get(path, headers={"origin": "https://elsewhere.example"}).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert headers["referrer-policy"] == "no-referrer"
        assert not [name for name in headers if name.startswith("access-control") or name == "server"]
    page = client.get(f"/boards/{SUITE}")
    stated = re.findall(r'Content-Security-Policy" content="([^"]+)"', page.text)[0].replace("&#39;", "'")
    assert page.headers["content-security-policy"].startswith(stated)
    assert not re.findall(r'src="(?:https?:)?//', page.text)
    assert client.get("/v1/boards", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/v1/boards", headers={"host": "LOCALHOST:1234"}).status_code == 200
    assert client.options("/v1/submissions", headers={"origin": "https://a.example"}).status_code == 405
    assert client.get("/docs").status_code == 404


def test_the_api_describes_itself(running: Running) -> None:
    _, client = running
    found = client.get("/v1/openapi.json").json()
    assert {
        "/v1/submissions",
        "/v1/submissions/{bundle}",
        "/v1/submissions/{bundle}/withdraw",
        "/v1/boards",
        "/v1/boards/{suite}",
        "/v1/entries/{bundle}",
        "/v1/health",
    } <= set(found["paths"])
    for path, methods in found["paths"].items():
        assert all(
            (method["summary"] and method["description"]) or path.endswith("health") for method in methods.values()
        )
    assert client.get("/v1/health").json()["status"] == "ok"


def test_limits_of_addresses_accounts_and_wrong_tokens(tmp_path: Path) -> None:
    where = place(tmp_path, f"sqlite:///{tmp_path}/board.sqlite3")
    with serving(where, "--submissions", "2", "--requests", "30") as (client, _):
        for number in range(3):
            last = post(client, where, bundle(tmp_path, f"net{number}")[1])
        assert last.status_code == 429
        assert int(last.headers["retry-after"]) > 60
        assert len(list(where.depot.ids())) == 2
        codes = [post(client, where, b"x", "ra_00000000_" + "x" * 43).status_code for _ in range(21)]
        assert codes == [401] * 20 + [429]
        assert post(client, where, b"x").status_code == 429  # from here on, even with the right one
        answers = [client.get(f"/v1/submissions/{'0' * 64}") for _ in range(12)]
        assert answers[0].status_code == 404
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert client.get("/v1/boards").status_code == 200  # bytes that lie ready are anyone's


def test_commands_for_tokens(tmp_path: Path) -> None:
    where = place(tmp_path, f"sqlite:///{tmp_path}/board.sqlite3")

    def command(*arguments: str) -> Result:
        return CliRunner().invoke(cli, [*arguments, "--store", str(where.folder)], env=where.environment)

    made = command("token", "issue", "--account", account_of(KEY), "--name", "Ada", "--note", "laptop")
    token = made.stdout.strip()
    assert re.fullmatch(r"ra_[0-9a-f]{8}_[\w-]{43}", token), made.output
    listed_now = json.loads(command("token", "list", "--json").stdout)
    assert token[:11] in [one["prefix"] for one in listed_now]
    assert token not in str(listed_now)
    assert command("token", "revoke", token[:11]).exit_code == 0
    assert "revoked" in command("token", "list").stdout
    wrong = command("token", "revoke", "ra_11111111")
    assert (wrong.exit_code, "no token starts with" in str(wrong.exception)) == (1, True)
    assert "0 entries" in command("rebuild").stdout
