"""From a model to a verdict: what is honest is re-scored and re-run, and what is not is refused with the reason."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from model_sources import load_model
from safetensors.torch import load, save

from adversarial.errors import InvalidOption, ModelError
from benchmarks.catalog import catalog
from benchmarks.cli.main import cli
from benchmarks.running.executors import Serial
from benchmarks.running.planning import Settings
from benchmarks.submitting.entry import Submission, cells_of, pack
from benchmarks.suites.suite import suite_named
from benchmarks.verifying import opening
from benchmarks.verifying.bundles import drawn, verify
from leaderboard.bundle.manifest import EntryFacts
from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import generate_key, save_key
from leaderboard.records.record import Result
from leaderboard.records.run_folder import RunFolder
from leaderboard.records.verdict import Verdict


TASK, NAME, LIMIT = "image-digits", "copied", 16
KEY = generate_key()
Change = Callable[[Result, Any], tuple[Result | None, bytes | None]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model, the key, the run and the bundle, made by the command."""
    folder = tmp_path_factory.mktemp("submitted")
    shutil.copytree(Path(catalog().task(TASK).folder) / "undefended", folder / "model")
    save_key(folder / "key.pem", KEY)
    options = ["--task", TASK, "--name", NAME, "--suite", "mini@1", "--limit", str(LIMIT), "--workers", "1"]
    places = ["--key", str(folder / "key.pem"), "--bundle", str(folder / "one.rab"), "--out", str(folder / "runs")]
    done = CliRunner().invoke(cli, ["submit", f"torch:{folder / 'model'}", *options, *places])
    assert done.exit_code == 0, done.output
    return folder


def submission(folder: Path, name: str = NAME) -> Submission:
    text = f"torch:{folder / 'model'}"
    facts = EntryFacts(name=name, task=TASK, defense="none", url="", licence="")
    return Submission(facts, text, load_model(text, TASK))


def repacked(folder: Path, target: Path, change: Change) -> Verdict:
    """The verdict on an honest run whose records and evidence were changed before they were signed."""
    made = submission(folder)
    cells = cells_of(made, suite_named(catalog(), "mini@1"), catalog(), Settings(limit=LIMIT))
    honest, forged = RunFolder(folder / "runs"), RunFolder(target / "runs")
    for cell in cells:
        result = honest.read_result(cell.id)
        assert result is not None
        data = honest.artifact_path(cell.id).read_bytes() if result.artifacts else None
        new, evidence = change(result, data)
        if new is None:
            continue
        artifacts = {f"{cell.id}.safetensors": forged.write_artifact(cell.id, evidence)} if evidence else {}
        forged.write_result(msgspec.structs.replace(new, artifacts=artifacts))
    pack(target / "forged.rab", made, f"mini@1-limit{LIMIT}", cells, forged, KEY)
    return verify(target / "forged.rab", catalog(), rerun=1, nonce="00")


@pytest.mark.slow
def test_an_honest_bundle_is_scored_and_measured_again(measured: Path) -> None:
    scored = verify(measured / "one.rab", catalog())
    assert scored.level == "re-scored", scored.reasons
    assert {cell.check for cell in scored.cells} <= {"re-scored", "claimed"}
    again = verify(measured / "one.rab", catalog(), rerun=2, nonce="ab")
    assert again.level == "re-run", again.reasons
    found = [cell for cell in again.cells if cell.check == "re-run"]
    assert len(found) == 2
    assert all(cell.detail == "the same to the last digit" for cell in found)


def test_the_command_says_the_verdict_as_json_and_by_its_exit(measured: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["verify", str(measured / "one.rab"), "--json"])
    assert done.exit_code == 0
    verdict = json.loads(done.stdout)
    assert verdict["level"] == "re-scored"
    assert len(verdict["bundle"]) == 64
    data = bytearray((measured / "one.rab").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "flipped.rab").write_bytes(data)
    done = CliRunner().invoke(cli, ["verify", str(tmp_path / "flipped.rab"), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["level"] == "refused"


def test_nobody_can_choose_what_is_measured_again() -> None:
    cells = [f"{number:064x}" for number in range(40)]
    first = drawn("a" * 64, "01", cells, 5)
    assert first == drawn("a" * 64, "01", list(reversed(cells)), 5)
    assert len({drawn("a" * 64, f"{nonce:02x}", cells, 5) for nonce in range(20)}) > 15


def attacked(result: Result) -> bool:
    return result.cell.attack == "pgd" and result.status == "ok"


def test_a_success_that_is_left_out_is_seen(measured: Path, tmp_path: Path) -> None:
    def change(result: Result, data: Any) -> tuple[Result, Any]:
        if attacked(result):
            assert result.examples is not None
            ones = tuple(1.0 for _ in result.examples.values)
            return msgspec.structs.replace(result, examples=msgspec.structs.replace(result.examples, values=ones)), data
        return result, data

    verdict = repacked(measured, tmp_path, change)
    assert verdict.level == "refused"
    assert "the model is worse than claimed" in verdict.reasons[0]


def test_examples_that_are_not_adversarial_are_seen(measured: Path, tmp_path: Path) -> None:
    def change(result: Result, data: Any) -> tuple[Result, Any]:
        if attacked(result):
            assert result.examples is not None
            none = tuple(0.0 for _ in result.examples.values)
            return msgspec.structs.replace(result, examples=msgspec.structs.replace(result.examples, values=none)), data
        return result, data

    verdict = repacked(measured, tmp_path, change)
    assert verdict.level == "refused"
    assert "not adversarial" in verdict.reasons[0]


def test_examples_over_budget_are_seen(measured: Path, tmp_path: Path) -> None:
    def change(result: Result, data: Any) -> tuple[Result, Any]:
        if attacked(result):
            images = load(data)["images"]
            images[2] = (images[2] + 0.4).clamp(0, 1)
            return result, save({"images": images})
        return result, data

    verdict = repacked(measured, tmp_path, change)
    assert verdict.level == "refused"
    assert "over budget" in verdict.reasons[0]


def test_an_attack_that_is_ruled_out_is_tried(measured: Path, tmp_path: Path) -> None:
    def change(result: Result, data: Any) -> tuple[Result, Any]:
        if attacked(result):
            absent: dict[str, Any] = {"examples": None, "metric": None, "diagnostics": ()}
            return msgspec.structs.replace(result, status="n/a", reason="not differentiable", **absent), None
        return result, data

    verdict = repacked(measured, tmp_path, change)
    assert verdict.level == "refused"
    assert "claimed n/a" in verdict.reasons[0]


def test_a_clean_score_that_is_too_good_is_seen(measured: Path, tmp_path: Path) -> None:
    shutil.copytree(measured / "model", tmp_path / "model")

    def change(result: Result, data: Any) -> tuple[Result, Any]:
        if result.cell.attack == "none":
            assert result.examples is not None
            none = tuple(0.0 for _ in result.examples.values)
            return msgspec.structs.replace(result, examples=msgspec.structs.replace(result.examples, values=none)), data
        return result, data

    assert repacked(measured, tmp_path, change).level == "refused"


def test_cells_that_are_left_out_are_missing_and_said(measured: Path, tmp_path: Path) -> None:
    verdict = repacked(measured, tmp_path, lambda result, data: (None if attacked(result) else result, data))
    assert verdict.accepted
    assert verdict.reasons == ("1 cells are missing and count as no result",)


def test_another_version_is_refused(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = msgspec.structs.replace(opening.benchmark_version(), numbers="0")
    monkeypatch.setattr("benchmarks.verifying.opening.benchmark_version", lambda: other)
    verdict = verify(measured / "one.rab", catalog())
    assert verdict.level == "refused"
    assert "numbers version 0" in verdict.reasons[0]


def test_what_carries_no_model_stays_claimed(measured: Path, tmp_path: Path) -> None:
    made = submission(measured)
    made = replace(made, model=replace(made.model, files={}))
    cells = cells_of(made, suite_named(catalog(), "mini@1"), catalog(), Settings(limit=LIMIT))
    pack(tmp_path / "claimed.rab", made, f"mini@1-limit{LIMIT}", cells, RunFolder(measured / "runs"), KEY)
    assert verify(tmp_path / "claimed.rab", catalog(), rerun=3).level == "claimed"


def test_the_name_of_a_reference_model_is_taken(measured: Path) -> None:
    with pytest.raises(InvalidOption, match="reference model"):
        cells_of(submission(measured, "undefended"), suite_named(catalog(), "mini@1"), catalog(), Settings())


def test_stronger_examples_are_packed_against_the_entry_and_verified(measured: Path, tmp_path: Path) -> None:
    weak = ["--attack", "noise", "--bundle", str(tmp_path / "weak.rab"), "--key", str(measured / "key.pem")]
    done = CliRunner().invoke(cli, ["strengthen", str(measured / "one.rab"), *weak])
    assert done.exit_code == 0, done.output
    made = tmp_path / "strong.rab"
    options = ["--attack", "apgd-t", "--param", "steps=10", "--bundle", str(made), "--key", str(measured / "key.pem")]
    done = CliRunner().invoke(cli, ["strengthen", str(measured / "one.rab"), *options])
    assert done.exit_code == 0, done.output
    verdict = verify(made, catalog())
    assert verdict.level == "re-scored", verdict.reasons
    assert [cell.check for cell in verdict.cells] == ["re-scored"]
    bundle = open_bundle(made)
    assert bundle.manifest.target == open_bundle(measured / "one.rab").id
    assert next(iter(bundle.records.values())).cell.params["steps"] == 10
    bad = CliRunner().invoke(cli, ["strengthen", str(made), *options])
    assert bad.exit_code != 0
    assert "bundle of an entry" in str(bad.exception)


# What submit tells, and the board that it keeps.


def submitted(folder: Path, name: str, source: str, *more: str) -> Any:
    options = ["--task", TASK, "--name", name, "--suite", "mini@1", "--limit", str(LIMIT), "--workers", "1", *more]
    places = ["--key", str(folder / "key.pem"), "--bundle", str(folder / f"{name}.rab"), "--out", str(folder / "runs")]
    return CliRunner().invoke(cli, ["submit", source, *options, *places])


@pytest.fixture
def told(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, in which cells are measured in this process."""
    monkeypatch.setattr("benchmarks.running.executors.Process", Serial)
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(measured, tmp_path / "copy"))


def shown(folder: Path, command: str) -> Any:
    done = CliRunner().invoke(cli, [command, "--json", "--out", str(folder / "runs")])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_the_board_of_the_folder_shows_what_was_submitted_and_what_was_run(told: Path) -> None:
    def on_board() -> set[str]:
        (task,) = (one for one in shown(told, "table")["tasks"] if one["task"] == TASK)
        return {row["entry"] for row in task["rows"]}

    assert on_board() == {NAME}
    assert [one["entry"] for one in shown(told, "compare")["entries"]] == [NAME]
    references = set(catalog().task(TASK).models)
    words = ["mini@1", "--task", TASK, "--limit", str(LIMIT), "--out", str(told / "runs")]
    done = CliRunner().invoke(cli, ["run", *words])
    assert done.exit_code == 0, done.output
    assert on_board() == {NAME, *references}
    done = submitted(told, "second", f"torch:{told / 'model'}")
    assert done.exit_code == 0, done.output
    assert on_board() == {NAME, "second", *references}
    done = CliRunner().invoke(cli, ["site", str(told / "site"), "--out", str(told / "runs")])
    assert done.exit_code == 0, done.output
    assert NAME in (told / "site" / "index.html").read_text()

    # Among the reference models: its rank, and each of them with its own.
    lines = submitted(told, NAME, f"torch:{told / 'model'}").stdout.splitlines()
    assert any(line.startswith("* ") and NAME in line for line in lines), lines
    assert all(any(name in line for line in lines) for name in (*references, "second"))
    assert not any("robustarena run" in line for line in lines)


def test_it_ends_with_scores_and_with_how_to_see_where_they_stand(told: Path) -> None:
    done = submitted(told, NAME, f"torch:{told / 'model'}")
    packed, title, clean, robust, bound, *_, last = done.stdout.splitlines()
    (row,) = shown(told, "table")["tasks"][0]["rows"]
    assert packed.startswith(str(told))
    assert title == f"{NAME} on {TASK}, mini@1-limit{LIMIT}"
    assert f"accuracy {row['clean']['metric']:.3f}  {row['clean']['metric_interval']['low']:.3f}" in clean
    (ranking,) = (one for one in row["threats"] if one["ranking"])
    assert f"accuracy {ranking['robust']['metric']:.3f}" in robust
    assert "under pixels-linf:0.15, the worst of" in robust
    assert "upper bound" in bound
    expected = f"robustarena run mini@1 --task {TASK} --limit {LIMIT} --out {told / 'runs'}"
    assert last.endswith(expected), last


def test_a_second_model_under_the_same_name_takes_its_place(told: Path) -> None:
    hardened = Path(catalog().task(TASK).folder) / "adversarial-training"
    done = submitted(told, NAME, f"torch:{hardened}")
    assert done.exit_code == 0, done.output
    folder = RunFolder(told / "runs")
    found = folder.results(folder.read_plan(f"mini@1-limit{LIMIT}"))
    assert {result.cell.model_hash for result in found.values()} == {bring_hash(f"torch:{hardened}")}


def bring_hash(source: str) -> str:
    return load_model(source, TASK).hash


def test_a_model_with_a_problem_is_refused_unless_it_is_wanted(told: Path) -> None:
    code = (
        "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x):\n"
        "        rows = x.flatten(1)\n        return torch.cat([rows, rows], 1)[:, :10] * (len(x) > 1)\n"
        "def make():\n    return Net()\n"
    )
    (told / "odd.py").write_text(code)
    source = f"python:{told / 'odd.py'}:make"
    done = submitted(told, "odd", source)
    assert isinstance(done.exception, ModelError)
    assert "--despite-problems" in str(done.exception)
    assert "  problem  " in done.stderr
    assert not (told / "odd.rab").exists()
    assert shown(told, "table")["entries"][0]["entry"] == NAME
    done = submitted(told, "odd", source, "--despite-problems")
    assert done.exit_code == 0, done.output
    assert (told / "odd.rab").exists()
