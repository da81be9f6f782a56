"""Boards on own data: who runs one names the prepared folders, and takes entries on nothing else."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner
from model_sources import registry
from own_sources import IMAGE, TEXT, prepared, reviews, write_pictures, write_rows
from serving import Place, place, post, reaches, serving, state, until, working
from stores import KEY, make_bundle

from adversarial.registry import resolve
from benchmarks.cli.main import cli
from benchmarks.suites import ENTRIES as SUITES
from leaderboard.bundle.signing import save_key
from leaderboard.database.suites import read_suites
from tasks.data import CustomData
from tasks.data.preparing import Preparing
from tasks.image.architectures import Perceptron
from tasks.models.torch_folder import save


ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "data.md"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("datasets_cache"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]


@pytest.fixture
def data(tmp_path: Path) -> CustomData:
    return prepared(write_pictures(tmp_path / "pictures"), IMAGE, tmp_path / "data")


@pytest.fixture
def where(tmp_path: Path) -> Place:
    return place(tmp_path, f"sqlite:///{tmp_path}/board.sqlite3")


def test_a_server_with_the_data_takes_entries_on_them(data: CustomData, where: Place, tmp_path: Path) -> None:
    suite = f"mini@2-{data.suffix}"
    made = make_bundle(tmp_path / "net.rab", suite=suite)
    with serving(where, "--data", str(data.folder)) as (client, _), working(where):
        answer = post(client, where, (tmp_path / "net.rab").read_bytes())
        assert answer.status_code == 201, answer.text
        assert reaches(client, made, "accepted")["level"] == "re-run"
        until(lambda: suite in client.get("/v1/boards").text, "the suite has a board")
        until(lambda: "net" in client.get(f"/boards/{suite}").text, "the entry is on it")
        assert client.get("/boards/mini@2").status_code == 404 or "net" not in client.get("/boards/mini@2").text
        make_bundle(tmp_path / "cut.rab", "cut", suite=f"{suite}-limit5")
        assert post(client, where, (tmp_path / "cut.rab").read_bytes()).status_code == 422
    found = read_suites(where.depot)
    for own in SUITES:
        assert found[f"{own.name}-{data.suffix}"].ranking_threats == {IMAGE: own.ranking_threats[IMAGE]}


def test_a_server_without_the_data_refuses_them(data: CustomData, where: Place, tmp_path: Path) -> None:
    make_bundle(tmp_path / "net.rab", suite=f"mini@2-{data.suffix}")
    with serving(where) as (client, _):
        answer = post(client, where, (tmp_path / "net.rab").read_bytes())
        assert answer.status_code == 422
        assert data.suffix in answer.json()["detail"]


def test_a_worker_hands_the_data_on(data: CustomData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def work(settings: Any, **_: Any) -> int:
        seen.append(settings)
        return 0

    monkeypatch.setattr("leaderboard.server.worker.work", work)
    other = prepared(write_rows(tmp_path / "rows.csv", reviews()), TEXT, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    given = [part for one in (data, other) for part in ("--data", str(one.folder.relative_to(tmp_path)))]
    done = CliRunner().invoke(cli, ["worker", "--once", *given], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert seen[0].command[0] == sys.executable
    assert seen[0].command[-4:] == ("--data", str(data.folder), "--data", str(other.folder))


@pytest.mark.parametrize("given", [True, False])
def test_a_real_worker_verifies_an_entry_with_the_data_alone(
    given: bool, data: CustomData, where: Place, tmp_path: Path
) -> None:
    arguments = {"width": 8, "pixels": 3 * 12 * 12, "classes": 4}
    save(Perceptron(**arguments), tmp_path / "net", task=IMAGE, architecture="perceptron", arguments=arguments)
    save_key(tmp_path / "key.pem", KEY)
    named = ["--task", IMAGE, "--name", "mine", "--suite", "mini@1", "--limit", "4", "--workers", "1"]
    places = [f"--{name}={tmp_path / place}" for name, place in (("key", "key.pem"), ("bundle", "x.rab"), ("out", "r"))]
    model = f"torch:{tmp_path / 'net'}"
    done = CliRunner().invoke(cli, ["submit", model, *named, *places, "--data", str(data.folder)])
    assert done.exit_code == 0, done.output
    with serving(where, "--data", str(data.folder), "--limited-suites") as (client, _):
        answer = post(client, where, (tmp_path / "x.rab").read_bytes())
        assert answer.status_code == 201, answer.text
        command = where.command("worker", "--store", str(where.folder), "--once", "--rerun", "1")
        handed = ["--data", str(data.folder)] if given else []
        done = subprocess.run(
            [*command, *handed],
            cwd=ROOT,
            env=where.environment,
            check=True,
            timeout=120,
            capture_output=True,
            text=True,
        )
        seen = state(client, answer.json()["id"])
        if given:
            assert (seen["state"], seen["level"]) == ("accepted", "re-run"), seen
        else:
            # Another worker may have them: the submitter is not to blame.
            assert (seen["state"], seen["reasons"]) == ("queued", []), seen
            assert f"measured on own data, {data.suffix}; give them with --data" in done.stderr


def test_the_commands_of_the_page_are_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("robustarena ")]
    assert len(lines) >= 10
    for line in lines:
        _, name, *arguments = shlex.split(line, comments=True)
        for part in arguments:
            if part.startswith("data/"):
                Path(part).mkdir(parents=True, exist_ok=True)
        command = cli.commands[name]
        with command.make_context(name, arguments) as context:
            assert isinstance(context, click.Context), line


def test_the_page_names_every_column_ending_and_option() -> None:
    from tasks.data.reading import FILES

    text = PAGE.read_text(encoding="utf-8")
    ways = [resolve(task.preparing) for task in registry().tasks() if task.preparing]
    assert len(ways) == 3
    for way in ways:
        for role, usual in cast("Preparing", way).roles.items():
            for name in (role, *usual):
                assert f"`{name}`" in text, name
    for ending in FILES:
        assert f"`{ending}`" in text, ending
    options = [one for one in cli.commands["prepare"].params if isinstance(one, click.Option) and one.name != "help"]
    for option in options:
        assert f"`{option.opts[0]}`" in text or f"`{option.opts[0]} " in text, option.opts[0]
