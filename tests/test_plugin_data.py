"""A plugin's task with a user's own data: prepared, checked, submitted, verified and shown, as the tasks that ship."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from adversarial.errors import InvalidOption, UnavailableData
from benchmarks.catalog import catalog
from benchmarks.clean_examples import clean_examples
from benchmarks.cli.main import cli
from leaderboard.bundle.signing import generate_key, save_key
from leaderboard.records.examples import Disturbed
from leaderboard.records.run_folder import RunFolder
from tasks.data import open_data
from tasks.models.torch_folder import save


PLUGIN = Path(__file__).parent / "plugins" / "flowers.py"
pytestmark = [
    pytest.mark.usefixtures("datasets_cache"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO:pytest.PytestUnraisableExceptionWarning"),
]


def invoke(*words: object) -> Any:
    return CliRunner().invoke(cli, [*map(str, words), "--plugin", str(PLUGIN)])


def printed(*words: object) -> str:
    done = invoke(*words)
    assert done.exit_code == 0, (done.output, done.exception)
    return str(done.stdout)


def write_table(path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["lengths", "kind"])
        for number in range(32):
            high = number % 2
            rows.writerow([" ".join(str(high + (number + place) / 64) for place in range(4)), ("small", "large")[high]])
    return path


def test_own_data_of_a_plugins_task_go_all_the_way(tmp_path: Path) -> None:
    table, out = write_table(tmp_path / "flowers.csv"), tmp_path / "runs"
    folder = Path(printed("prepare", table, tmp_path / "data", "--task", "flowers").split("  ")[0])
    data = open_data(folder)
    assert (data.task, data.manifest.classes, data.manifest.facts) == ("flowers", ("large", "small"), {"numbers": 4})
    module = nn.Linear(4, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0] * 4, [-1.0] * 4]))
        module.bias.copy_(torch.tensor([-4.0, 4.0]))
    save(module, tmp_path / "net", task="flowers", architecture="linear", arguments={})
    save_key(tmp_path / "key.pem", generate_key())
    model = ["torch:" + str(tmp_path / "net"), "--task", "flowers", "--data", folder]
    assert "nothing is wrong" in printed("check", *model)
    packed = ["--key", tmp_path / "key.pem", "--bundle", tmp_path / "net.rab", "--workers", 1, "--out", out]
    printed("submit", *model, "--name", "net", "--suite", "flowers@1", *packed)
    verified = printed("verify", tmp_path / "net.rab", "--data", folder, "--rerun", 1, "--nonce", "5f")
    assert verified.startswith("re-run")
    without = invoke("verify", tmp_path / "net.rab")
    assert isinstance(without.exception, UnavailableData)
    printed("site", tmp_path / "site", "--out", out)
    assert (tmp_path / "site" / "index.html").is_file()
    known, run = catalog([PLUGIN]), RunFolder(out)
    (attacked,) = (
        one for one in run.results(run.read_plan(f"flowers@1-{data.suffix}")).values() if one.cell.attack == "fgsm"
    )
    found = clean_examples(known, [data])(attacked.cell, {"own-test-0": Disturbed("text")})
    assert found["own-test-0"].truth in ("small", "large")


def test_what_the_plugins_task_does_not_take_is_said(tmp_path: Path) -> None:
    table = write_table(tmp_path / "flowers.csv")
    done = invoke("prepare", table, tmp_path / "data", "--task", "flowers", "--size", 8)
    assert isinstance(done.exception, InvalidOption)
    assert "flowers does not know --size; of such options it has none" in str(done.exception)
    done = invoke("prepare", table, tmp_path / "data", "--task", "flowers", "--column", "lengths=kinds")
    assert "did you mean 'kind'" in str(done.exception)
    done = invoke("check", "hf:nowhere", "--task", "flowers")
    assert done.exit_code == 1
    assert "hf: models do not fit flowers; it takes torch, python, reference" in done.output
