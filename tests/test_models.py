"""Weights and cards that cannot be used: a clear error each time, and nothing is ever unpickled."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from adversarial.errors import ModelError, UnknownName
from benchmarks.catalog import catalog
from tasks.image.task import make
from tasks.models.cards import read_card, weights_hash


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shipped = Path(catalog().task("image-digits").folder) / "undefended"
    return Path(shutil.copytree(shipped, tmp_path / "model"))


def load(folder: Path) -> None:
    make().load_victim(folder, torch.device("cpu"))


def rewrite(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Other weights under a card that names their hash, so that the hash is not what refuses them."""
    save_file(tensors, folder / "model.safetensors")
    card = json.loads((folder / "card.json").read_text())
    card["weights_sha256"] = weights_hash(folder)
    (folder / "card.json").write_text(json.dumps(card))


def test_an_honest_copy_loads(folder: Path) -> None:
    load(folder)


def test_wrong_shapes(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    rewrite(folder, {**tensors, name: torch.zeros(2, 2)})
    with pytest.raises(ModelError, match=rf"{name} has shape \[2, 2\], the architecture has"):
        load(folder)


def test_missing_and_unknown_tensors(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    rewrite(folder, {("other" if key == name else key): value for key, value in tensors.items()})
    with pytest.raises(ModelError, match=rf"missing \['{name}'\], unknown \['other'\]"):
        load(folder)


def test_nan_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = next(iter(tensors))
    tensors[name].view(-1)[0] = float("nan")
    rewrite(folder, tensors)
    with pytest.raises(ModelError, match=f"{name} holds NaN"):
        load(folder)


def test_weights_that_the_card_does_not_name(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({key: value + 1 for key, value in tensors.items()}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="its card says"):
        load(folder)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.path,))


def test_a_pickle_is_refused_and_not_run(folder: Path, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap(trap)))
    card = json.loads((folder / "card.json").read_text())
    card["weights_sha256"] = weights_hash(folder)
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="pickles are never loaded"):
        load(folder)
    (folder / "model.safetensors").rename(folder / "model.pt")
    with pytest.raises(ModelError, match="pickles are never loaded"):
        load(folder)
    assert not trap.exists()


def test_no_code_of_ours_can_unpickle() -> None:
    root = Path(__file__).parent.parent
    for package in ("adversarial", "tasks", "benchmarks", "leaderboard"):
        for path in (root / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "torch.load" not in text, path
            assert not re.search(r"\bimport pickle\b", text), path  # pickletools lists operations and runs none


def test_a_card_that_is_none(folder: Path) -> None:
    (folder / "card.json").write_text("{")
    with pytest.raises(ModelError, match="is not a model card"):
        load(folder)
    (folder / "card.json").unlink()
    with pytest.raises(ModelError, match=r"no card\.json"):
        load(folder)


def test_an_unknown_architecture_and_unfit_arguments(folder: Path) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "architecture": "smal-conv"}))
    with pytest.raises(UnknownName, match="did you mean 'small-conv'"):
        load(folder)
    (folder / "card.json").write_text(json.dumps({**card, "arguments": {"depth": 3}}))
    with pytest.raises(ModelError, match="do not fit small-conv"):
        load(folder)


@pytest.mark.parametrize("task", [entry.name for entry in catalog().tasks()])
def test_every_shipped_model_has_a_card_that_is_true(task: str) -> None:
    entry = catalog().task(task)
    for model in entry.models:
        folder = Path(entry.folder) / model
        card = read_card(folder)
        assert (card.task, card.model) == (task, model)
        assert card.weights_sha256 == weights_hash(folder)
        assert card.command == f"robustarena train {task}/{model}"
        assert card.clean_loss >= 0


def test_bundled_data_and_weights_stay_small() -> None:
    root = Path(__file__).parent.parent / "tasks"
    files = [p for p in root.rglob("*") if p.is_file() and ("data" in p.parts or "models" in p.parts)]
    assert sum(path.stat().st_size for path in files) < 25_000_000
