"""A model on its way to a board, with nothing left out: the command, a server, a worker that verifies, a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from browsing import chromium, expect, page_of, settled
from postgres import new_database, programs
from serving import ROOT, Place, place, post, reaches, serving, state, until
from stores import KEY, STRANGER

from benchmarks.catalog import catalog
from leaderboard.bundle.signing import save_key


TASK, SUITE = "image-digits", "mini@1-limit16"
COMMAND_SECONDS = 600  # of a command that measures or verifies; other tests may keep all cores busy


def submitted(where: Place, folder: Path, model: str, name: str, server: str) -> str:
    """Sends a copy of a reference model with the command, and returns the bundle's id."""
    shutil.copytree(Path(catalog().task(TASK).folder) / model, folder / name)
    options = ["--task", TASK, "--name", name, "--suite", "mini@1", "--limit", "16", "--workers", "1", "--to", server]
    places = ["--key", str(folder / "key.pem"), "--bundle", str(folder / f"{name}.rab"), "--out", str(folder / "runs")]
    done = subprocess.run(
        where.command("submit", f"torch:{folder / name}", *options, *places),
        cwd=ROOT,
        env=where.environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    packed, *_, sent = done.stdout.strip().splitlines()
    assert sent.startswith("queued  http://127.0.0.1:")
    return packed.split()[-1]


@pytest.mark.slow
def test_a_model_gets_onto_the_board(tmp_path: Path) -> None:
    """On PostgreSQL where it is installed; tests/test_server.py runs on both databases."""
    (tmp_path / "store").mkdir()
    where = place(tmp_path, f"sqlite:///{tmp_path}/store/board.sqlite3" if programs() is None else new_database())
    save_key(tmp_path / "key.pem", KEY)
    with serving(where, "--limited-suites") as (client, _):
        server = str(client.base_url).rstrip("/")
        first = submitted(where, tmp_path, "adversarial-training", "hardened", server)
        second = submitted(where, tmp_path, "undefended", "plain", server)
        assert {state(client, bundle)["state"] for bundle in (first, second)} == {"queued"}
        # The same bundle again is the same entry; somebody else's key makes it no other's.
        again = post(client, where, (tmp_path / "plain.rab").read_bytes())
        assert (again.status_code, again.json()["id"]) == (200, second)
        command = where.command("worker", "--store", str(where.folder), "--once", "--rerun", "1")
        worked = subprocess.run(
            command, cwd=ROOT, env=where.environment, capture_output=True, timeout=COMMAND_SECONDS, check=False
        )
        assert worked.returncode == 0, worked.stderr.decode()
        for bundle in (first, second):
            assert reaches(client, bundle, "accepted")["level"] == "re-run"

        def ranked() -> dict[str, Any]:
            return {row["entry"]: row for row in client.get(f"/v1/boards/{SUITE}").json().get("entries", ())}

        rows = until(lambda: len(ranked()) == 2 and ranked(), "both entries are on the board") or {}
        assert rows["hardened"]["robust"] > rows["plain"]["robust"]
        assert rows["hardened"]["rank"]["best"] == 1
        _looked_at(server, tmp_path, first)
        gone = client.post(f"/v1/submissions/{second}/withdraw", headers=where.bearer)
        assert gone.status_code == 200, gone.text

        def left() -> bool:
            return [row["entry"] for row in client.get(f"/v1/boards/{SUITE}").json()["entries"]] == ["hardened"]

        until(left, "the withdrawn entry leaves the board")
        assert state(client, second)["state"] == "withdrawn"


def _looked_at(server: str, folder: Path, bundle: str) -> None:
    """In a browser: the board, from its first page on, and the submission."""
    with chromium() as browser:
        with page_of(browser, viewport={"width": 1200, "height": 900}) as (page, complaints):
            page.goto(f"{server}/boards/{SUITE}")
            settled(page)
            for name in ("hardened", "plain"):
                expect(page.locator("body")).to_contain_text(name)
            page.screenshot(path=str(folder / "board.png"), full_page=True)
            page.goto(f"{server}/submissions/{bundle}")
            expect(page.locator("body")).to_contain_text("accepted")
            page.screenshot(path=str(folder / "submission.png"), full_page=True)
            assert complaints == []
        with page_of(browser, viewport={"width": 360, "height": 740}) as (page, _):
            page.goto(f"{server}/boards/{SUITE}")
            settled(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_stranger_cannot_hand_in_what_another_signed(tmp_path: Path) -> None:
    from stores import make_bundle

    (tmp_path / "store").mkdir()
    where = place(tmp_path, f"sqlite:///{tmp_path}/store/board.sqlite3")
    bundle = make_bundle(tmp_path / "other.rab", key=STRANGER)
    with serving(where) as (client, _):
        answer = post(client, where, (tmp_path / "other.rab").read_bytes())
        assert answer.status_code == 403, answer.text
        assert client.get(f"/v1/submissions/{bundle}").status_code == 404
        assert json.loads(client.get("/v1/openapi.json").text)["paths"]["/v1/submissions"]
