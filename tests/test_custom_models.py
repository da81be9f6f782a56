"""Models of the user's own on the local board, beside the references."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from adversarial.errors import InvalidOption, ModelError
from benchmarks.catalog import catalog
from benchmarks.cli.main import cli
from benchmarks.running.custom_models import custom_models, is_source
from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import generate_key, save_key
from tasks.models.cards import read_card


ATTACKS = ("--attack", "none", "--attack", "pgd")
SHORT = ("--limit", "4", "--executor", "serial")
TASK = """
import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from torch import nn

from adversarial.entries import TaskEntry
from adversarial.spaces import pixels
from tasks.measuring.classification import Classification, Labelled
from tasks.measuring.protocol import ModelInterface
from tasks.models.recipes import Recipe


@cache
def load(split):
    values = np.random.default_rng(len(split)).random((64, 4)).astype(np.float32)
    return Labelled(tuple(map(str, range(64))), values, (values[:, 0] > values[:, 1]).astype(np.int64))


def data_hash(split):
    return hashlib.sha256(load(split).values.tobytes()).hexdigest()


def make():
    return Classification(
        name="corners", interface=ModelInterface("four numbers", "two logits", 2), load=load, data_hash=data_hash,
        surface="pixels", make_space=pixels, architectures={"linear": lambda: nn.Linear(4, 2)}, trained=("linear", {}),
        recipes={"undefended": Recipe("undefended", epochs=20, batch_size=8)},
    )


def register(registry):
    folder = str(Path(__file__).parent)
    registry.add(TaskEntry("corners", make, data_hash, "which is larger", ("pixels",), ("undefended",), folder))
"""
NET = """
import torch


def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


def invoke(*words: object) -> Result:
    done = CliRunner().invoke(cli, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shipped model of two tasks as if they were the user's own, and a Python file."""
    made = tmp_path_factory.mktemp("models")
    for task in ("image-digits", "sentiment-reviews"):
        shutil.copytree(Path(catalog().task(task).folder) / "noise-augmentation", made / task)
    (made / "net.py").write_text(NET, encoding="utf-8")
    return made


def test_what_is_a_source_and_what_a_pattern() -> None:
    registry = catalog()
    for text in ("hf:me/model", "torch:folder", "mine=torch:folder", "python:net.py:make", "sb3:a.zip"):
        assert is_source(text, registry), text
    for text in ("undefended", "image-digits/undefended", "un*", "mine", "a=b", "nothing:here"):
        assert not is_source(text, registry), text


def test_own_models_of_several_tasks_are_one_entry_beside_the_references(folder: Path, tmp_path: Path) -> None:
    own = [
        part for task in ("image-digits", "sentiment-reviews") for part in ("--model", f"mine=torch:{folder / task}")
    ]
    invoke("run", "mini@1", *own, "--model", "image-digits/undefended", *ATTACKS, *SHORT, "--out", tmp_path)
    board = json.loads(invoke("table", "--out", tmp_path, "--json").output)
    rows = {task["task"]: {row["entry"]: row for row in task["rows"]} for task in board["tasks"]}
    for task in ("image-digits", "sentiment-reviews"):
        assert set(rows[task]) == {"mine", "undefended", "noise-augmentation", "adversarial-training"}
        assert rows[task]["mine"]["defense"] == "noise-augmentation"  # as the card says
    assert "mine" not in rows["speech-digits"]
    measured = {
        (one["attack"], one["status"]) for row in rows["image-digits"]["mine"]["threats"] for one in row["attacks"]
    }
    assert ("pgd", "ok") in measured
    assert {one["entry"] for one in board["entries"]} == {
        "mine",
        "undefended",
        "noise-augmentation",
        "adversarial-training",
    }
    assert "mine" in invoke("compare", "--out", tmp_path).output
    invoke("site", tmp_path / "site", "--out", tmp_path)
    assert "mine" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


def test_a_model_without_a_card_says_its_task_by_its_kind_or_by_an_option(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="name one with --task"):
        invoke("run", "mini@1", "--model", f"python:{folder / 'net.py'}:make", *SHORT, "--out", tmp_path)
    words = ("--task", "image-digits", "--model", f"python:{folder / 'net.py'}:make", "--attack", "fgsm")
    done = invoke("run", "mini@1", *words, *SHORT, "--out", tmp_path)
    assert "image-digits/net-make/fgsm" in done.output
    registry = catalog()
    agents = [task for task in registry.tasks() if "sb3" in task.loaders]
    assert [task.name for task in agents] == ["control-cartpole"]  # so an agent needs no --task


def test_a_model_may_not_take_the_name_of_a_reference_or_of_another(folder: Path) -> None:
    registry = catalog()
    text = f"torch:{folder / 'image-digits'}"
    assert read_card(folder / "image-digits").model == "noise-augmentation"
    with pytest.raises(InvalidOption, match="has a model called noise-augmentation already; write NAME=torch:"):
        custom_models([text], registry, registry.tasks())
    with pytest.raises(InvalidOption, match="has a model called mine already"):
        custom_models([f"mine={text}", f"mine={text}"], registry, registry.tasks())
    found = custom_models([f"mine={text}", f"other={text}"], registry, registry.tasks())
    assert found.names == ("mine", "other")
    assert found.models["image-digits"][0].hash == found.models["image-digits"][1].hash


def test_a_model_in_a_form_that_the_task_does_not_read_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "nine.py").write_text(NET.replace("Linear(64, 10)", "Linear(64, 9)"), encoding="utf-8")
    (tmp_path / "broken.py").write_text(NET.replace("Linear(64, 10)", "Linear(63, 10)"), encoding="utf-8")
    registry = catalog()
    digits = [registry.task("image-digits")]
    with pytest.raises(ModelError, match=r"scores have the shape \[8, 9\].*robustarena check"):
        custom_models([f"python:{tmp_path / 'nine.py'}:make"], registry, digits)
    with pytest.raises(ModelError, match=r"broken\.py:make: RuntimeError"):
        custom_models([f"python:{tmp_path / 'broken.py'}:make"], registry, digits)


@pytest.mark.parametrize(("words", "defense"), [((), "noise-augmentation"), (("--defense", "luck"), "luck")])
def test_a_submission_says_the_defense_that_the_card_says(
    words: tuple[str, ...], defense: str, folder: Path, tmp_path: Path
) -> None:
    save_key(tmp_path / "key.pem", generate_key())
    places = ("--key", tmp_path / "key.pem", "--bundle", tmp_path / "one.rab", "--out", tmp_path / "runs")
    options = ("--task", "image-digits", "--name", "mine", "--suite", "mini@1", "--limit", "2", "--workers", "1")
    invoke("submit", f"torch:{folder / 'image-digits'}", *options, *words, *places)
    bundle = open_bundle(tmp_path / "one.rab")
    assert bundle.manifest.entry.defense == defense
    assert {record.cell.defense for record in bundle.records.values()} == {defense}


def test_a_plugins_model_is_compared_with_the_one_that_was_there(tmp_path: Path) -> None:
    """The reference's own folder is where a plugin's models are trained: what is written must not be its own judge."""
    (tmp_path / "task.py").write_text(TASK, encoding="utf-8")
    words = ("train", "corners/undefended", "--plugin", tmp_path / "task.py", "--to", tmp_path / "undefended")
    invoke(*words)
    same = invoke(*words, "--compare")
    assert "equal the shipped ones byte for byte" in same.output
    other = invoke(*words, "--epochs", "1", "--compare")
    assert "other weights than the shipped ones" in other.output
    assert "byte for byte" not in other.output
