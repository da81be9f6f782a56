"""What a server makes of its boards: the pages, tables and badges of a static site."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import httpx
import pytest
from serving import Place, place, post, reaches, serving, until, working
from stores import STRANGER, SUITE, make_bundle
from synthetic import CONTROL, IMAGE
from test_site import Page

from leaderboard.bundle.signing import account_of
from leaderboard.database.accounts import issue_token
from leaderboard.database.boards import PublicBoard
from leaderboard.database.engine import open_database
from leaderboard.printing.export import COLUMNS
from leaderboard.records.record import Cost
from leaderboard.scoring.rows import EntryRow, Spent, TaskLine
from leaderboard.scoring.statistics import Interval
from leaderboard.server.defenses import usual_baseline


class Served(NamedTuple):
    where: Place
    client: httpx.Client


ENTRIES = (("undefended", 10), ("hardened", 30), ("größer + 2!", 12))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Three entries on images, the first two on control, too, and a stronger attack against the second."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "store").mkdir()
    where = place(folder, f"sqlite:///{folder}/store/board.sqlite3")
    with (
        serving(where, "--requests", "0", "--submissions", "0", "--name", "board.example.org") as (client, _),
        working(where),
    ):
        made = {}
        for name, right in ENTRIES:
            made[name] = sent(client, where, folder, name, right=right)
        for name, right in ENTRIES[:2]:
            sent(client, where, folder, name, right=right, task=CONTROL)
        yield Served(where, client)


def sent(client: httpx.Client, where: Place, folder: Path, name: str, **changes: object) -> str:
    path = folder / "one.rab"
    bundle = make_bundle(path, name, **changes)  # type: ignore[arg-type]
    assert post(client, where, path.read_bytes()).status_code == 201
    reaches(client, bundle, "accepted")
    task = {"task": str(changes.get("task", IMAGE))}
    until(lambda: bundle in client.get(f"/v1/boards/{SUITE}", params=task).text, "it is on the board")
    return bundle


def table(client: httpx.Client, kind: str) -> httpx.Response:
    found = client.get(f"/boards/{SUITE}/export.{kind}")
    assert found.status_code == 200, found.text
    return found


def test_every_page_links_to_the_others_and_every_link_answers(served: Served) -> None:
    _, client = served
    queue, seen = [f"/boards/{SUITE}"], set()
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = client.get(path)
        assert answer.status_code == 200, path
        if answer.headers["content-type"].startswith("text/html"):
            parsed = Page(answer.text)
            hrefs = [(found["href"] or "").partition("#")[0] for found in parsed.of("a")]
            queue += [href for href in hrefs if href.startswith("/")]
            assert not re.findall(r'(?:src|action)="(?!data:)', answer.text)
    for part in ("/defenses", "/scores", "/export.csv", "/export.json", "/export.parquet", f"/tasks/{IMAGE}"):
        assert f"/boards/{SUITE}{part}" in {path.replace("%40", "@") for path in seen}, part
    assert sum(path.endswith("badge.svg") for path in seen) == len(ENTRIES)
    assert sum("/compare/" in path for path in seen) == 3


def test_defenses_against_the_undefended_entry_and_against_another(served: Served) -> None:
    _, client = served
    page = client.get(f"/boards/{SUITE}/defenses").text
    assert 'aria-current="page">Defenses by domain' in page
    row = page.partition('data-value="hardened"')[2].partition("</tr>")[0]
    # What ranks an entry is the worst of two attacks on its own shuffle: the sign is sure, the size is not.
    assert re.search(r'class="helps">helps</span> \+0\.\d\d', row)
    assert "clean +0.00" in row
    assert "helps only in image-digits" in row
    assert "not measured" in page.partition('data-value="größer + 2!"')[2].partition("</tr>")[0]
    other = client.get(f"/boards/{SUITE}/defenses", params={"against": "hardened"}).text
    row = other.partition('data-value="undefended"')[2].partition("</tr>")[0]
    assert 'class="hurts">hurts</span> -0.' in row
    assert 'aria-current="true">hardened' in other
    assert client.get(f"/boards/{SUITE}/defenses", params={"against": "nobody"}).status_code == 404
    assert client.get(f"/boards/{SUITE}/defenses", params={"page": 2}).status_code == 404


def test_the_usual_baseline_states_no_defense_and_is_not_merely_broken() -> None:
    def board(*entries: tuple[str, str, int, float, float]) -> PublicBoard:
        """Names, defenses, on how many tasks, clean and robust quality."""
        tasks: dict[str, list[TaskLine]] = {IMAGE: [], CONTROL: []}
        across = []
        for name, defense, count, clean, robust in entries:
            shared = {"entry": name, "bound": False, "retention": None, "rank": None, "unranked": ""}
            shared |= {"verdict": "reliable", "spent": Spent(Cost(), None, None)}
            for task in (IMAGE, CONTROL)[:count]:
                tasks[task].append(TaskLine(defense=defense, clean=None, robust=None, **shared))  # type: ignore[arg-type]
            interval = Interval(clean - 0.05, clean + 0.05)
            across.append(
                EntryRow(clean=clean, clean_interval=interval, robust=robust, robust_interval=None, **shared)  # type: ignore[arg-type]
            )
        return PublicBoard(SUITE, {}, {}, tuple(across), {task: tuple(lines) for task, lines in tasks.items()})

    filtered, small = ("a", "jpeg", 2, 0.95, 0.1), ("b", "none", 1, 0.99, 0.1)
    hardened, plain, broken = ("c", "none", 2, 0.92, 0.6), ("d", "none", 2, 0.9, 0.2), ("e", "none", 2, 0.1, 0.0)
    assert usual_baseline(board(filtered, small, hardened, plain, broken)) == "d"
    assert usual_baseline(board(hardened, broken)) == "c"
    assert usual_baseline(board(plain, ("undefended", "none", 1, 0.5, 0.5))) == "undefended"
    assert usual_baseline(board(filtered)) == ""
    assert usual_baseline(board()) == ""


def test_a_board_as_a_table_says_what_the_board_says(served: Served) -> None:
    _, client = served
    lines = {
        (task, line["entry"]): line
        for task in (IMAGE, CONTROL)
        for line in client.get(f"/v1/boards/{SUITE}", params={"task": task}).json()["entries"]
    }
    answer = table(client, "json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{SUITE.replace('@', '%40')}.json"
    rows = answer.json()["rows"]
    assert {(row["task"], row["entry"]) for row in rows} == set(lines)
    for row in rows:
        line = lines[row["task"], row["entry"]]
        assert row["ranking"] is True
        assert row["quality"] == line["robust"]["quality"]
        assert row["rank_best"] == line["rank"]["best"]
        assert row["verification"] == line["origin"]["level"] == "re-run"
    read = list(csv.DictReader(io.StringIO(table(client, "csv").text, newline="")))
    assert tuple(read[0]) == COLUMNS
    assert [line["entry"] for line in read] == [row["entry"] for row in rows]
    parquet = pytest.importorskip("pyarrow.parquet", reason="no pyarrow: pip install pyarrow")
    data = table(client, "parquet")
    assert data.headers["content-type"] == "application/vnd.apache.parquet"
    assert parquet.read_table(io.BytesIO(data.content)).to_pylist() == rows
    for kind in ("csv", "json", "parquet"):
        found = table(client, kind)
        asked = {"if-none-match": found.headers["etag"]}
        assert client.get(f"/boards/{SUITE}/export.{kind}", headers=asked).status_code == 304
    assert client.get(f"/boards/{SUITE}/export.xlsx").status_code == 404
    assert client.get("/boards/none@1/export.csv").status_code == 404


def test_a_badge_and_a_card_name_the_server(served: Served) -> None:
    _, client = served
    address = f"/boards/{SUITE}/entries/hardened/badge.svg"
    answer = client.get(address)
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    policy = "cross-origin-resource-policy"
    assert (answer.headers[policy], client.get("/v1/boards").headers[policy]) == ("cross-origin", "same-origin")
    said = ElementTree.fromstring(answer.text).get("aria-label") or ""
    line = next(one for one in client.get(f"/v1/boards/{SUITE}").json()["entries"] if one["entry"] == "hardened")
    assert said.startswith(f"RobustArena {SUITE}: robust {line['robust']:.2f}")
    assert client.get(address, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    assert client.get(f"/boards/{SUITE}/entries/nobody/badge.svg").status_code == 404
    page = client.get(f"/boards/{SUITE}/entries/hardened").text
    assert f"(https://board.example.org{address})" in page
    assert f"source:\n      name: &#34;RobustArena {SUITE}&#34;" in page
    assert said in page


def test_an_entry_and_a_comparison_are_worked_out_from_the_bundles(served: Served, tmp_path: Path) -> None:
    where, client = served
    page = client.get(f"/boards/{SUITE}/entries/undefended").text
    robust = {
        task: next(
            line["robust"]["quality"]
            for line in client.get(f"/v1/boards/{SUITE}", params={"task": task}).json()["entries"]
            if line["entry"] == "undefended"
        )
        for task in (IMAGE, CONTROL)
    }

    def ends_at(text: str) -> list[float]:
        tables = [one.partition("</table>")[0] for one in text.split("Query curve under <code>")[1:]]
        return [float(re.findall(r'data-value="([\d.e-]+)"', one)[-1]) for one in tables]

    assert sorted(ends_at(page)) == sorted(robust.values())
    pair = client.get(f"/boards/{SUITE}/compare/hardened/undefended").text
    attacks = [row.partition("</tr>")[0] for row in pair.split('<th scope="row" data-value="pgd"')[1:]]
    assert ["better" in row for row in attacks] == ["pixels" in row for row in attacks]
    assert len(attacks) == 2
    # A stranger's stronger attack lowers the entry, and its curve with it.
    target = next(
        line["origin"]["bundle"]
        for line in client.get(f"/v1/boards/{SUITE}", params={"task": IMAGE}).json()["entries"]
        if line["entry"] == "hardened"
    )
    database = open_database(where.folder, where.url)
    token = database.transact(lambda session: issue_token(session, account_of(STRANGER), "Eve"))
    database.close()
    path = tmp_path / "stronger.rab"
    stronger = make_bundle(path, "hardened", right=5, kind="stronger-attack", target=target, key=STRANGER)
    assert post(client, where, path.read_bytes(), token).status_code == 201
    reaches(client, stronger, "accepted")

    def lowered() -> float | None:
        lines = client.get(f"/v1/boards/{SUITE}", params={"task": IMAGE}).json()["entries"]
        found = next(line for line in lines if line["entry"] == "hardened")
        return found["robust"]["quality"] if stronger in found["origin"]["stronger"] else None

    now = until(lambda: lowered() is not None and (lowered(),), "the stronger attack counts")
    assert now
    assert now[0] in ends_at(client.get(f"/boards/{SUITE}/entries/hardened").text)


def test_without_a_public_name_nothing_claims_one(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    where = place(tmp_path, f"sqlite:///{tmp_path}/store/board.sqlite3")
    with serving(where) as (client, _), working(where):
        sent(client, where, tmp_path, "alone")
        page = client.get(f"/boards/{SUITE}/entries/alone").text
        assert "](badge.svg)" in page
        assert "source:" not in page
        assert "needs the entry <code>alone</code> and one more" in client.get(f"/boards/{SUITE}/defenses").text
        assert json.loads(table(client, "json").text)["rows"][0]["entry"] == "alone"
