"""What a python: model is: its file, the modules beside it, and the weights that they make, wherever they are kept."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from model_sources import load_model
from safetensors.torch import save_file

from adversarial.errors import ModelError
from adversarial.inputs import Inputs
from benchmarks.catalog import catalog
from benchmarks.cli.main import cli
from benchmarks.running.cells import ModelRef, PlannedCell
from benchmarks.running.measuring import measure
from benchmarks.running.planning import Settings, plan_cells
from benchmarks.running.workplace import Workplace
from benchmarks.suites.suite import NONE, Suite, TrialSpec
from leaderboard.bundle.signing import generate_key, save_key


TASK = "image-digits"
CPU = torch.device("cpu")
LOADED = (
    "import json, functools, torch, numpy\nfrom pathlib import Path\nfrom torch import nn\n"
    "from safetensors.torch import load_file\nW = load_file(Path(__file__).parent / 'weights.safetensors')['w']\n"
)
# Where a model may keep what it loads.
KEEPING = {
    "a parameter": "def make():\n    m = nn.Linear(64, 10)\n    m.weight.data = W[:10]\n    m.bias.data = W[0, :10]\n"
    "    return nn.Sequential(nn.Flatten(), m)\n",
    "a buffer that is not saved": "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    "        self.register_buffer('w', W, persistent=False)\n    def forward(self, x):\n"
    "        return x.flatten(1) @ self.w[:10].T\ndef make():\n    return Net()\n",
    "an attribute": "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.w = [W]\n"
    "    def forward(self, x):\n        return x.flatten(1) @ self.w[0][:10].T\ndef make():\n    return Net()\n",
    "a Victim's array": "from adversarial.inputs import Scores\nclass Own:\n    differentiable = True\n"
    "    __slots__ = ('w',)\n    def __init__(self):\n        self.w = {'w': W.numpy()}\n"
    "    def __call__(self, inputs):\n"
    "        return Scores(inputs.values.flatten(1) @ torch.from_numpy(self.w['w'])[:10].T)\n"
    "def make():\n    return Own()\n",
    "a closure": "class Net(nn.Module):\n    def __init__(self, apply):\n        super().__init__()\n"
    "        self.apply_to = apply\n    def forward(self, x):\n        return self.apply_to(x)\n"
    "def make():\n    w = W * 1\n    return Net(lambda x: x.flatten(1) @ w[:10].T)\n",
    "a global": "class Net(nn.Module):\n    def forward(self, x):\n        return x.flatten(1) @ W[:10].T\n"
    "def make():\n    return Net()\n",
    "numbers in lists": "ROWS = W[:10].tolist()\nclass Net(nn.Module):\n    def __init__(self):\n"
    "        super().__init__()\n        self.w = ROWS\n    def forward(self, x):\n"
    "        return x.flatten(1) @ torch.tensor(self.w).T\ndef make():\n    global W\n    W = None\n    return Net()\n",
}


def weights(folder: Path, scale: float) -> None:
    rows = torch.arange(640, dtype=torch.float32).reshape(10, 64).sin()
    save_file({"w": scale * rows}, folder / "weights.safetensors")


def hash_now(path: Path) -> str:
    return load_model(f"python:{path}:make", TASK).hash


@pytest.mark.parametrize("code", KEEPING.values(), ids=KEEPING)
def test_changed_weights_make_another_model(code: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(LOADED + code)
    weights(tmp_path, 1.0)
    first = hash_now(tmp_path / "net.py")
    assert hash_now(tmp_path / "net.py") == first, "the same files are the same model"
    weights(tmp_path, 2.0)
    assert hash_now(tmp_path / "net.py") != first
    weights(tmp_path, 1.0)
    assert hash_now(tmp_path / "net.py") == first


NEIGHBOUR = "import torch\ndef body():\n    m = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
FIXED = "    torch.nn.init.constant_(m[1].weight, {0})\n    torch.nn.init.zeros_(m[1].bias)\n    return m\n"


@pytest.mark.parametrize(
    ("name", "imported"),
    [("parts.py", "from parts import body"), ("inner/parts.py", "from inner.parts import body")],
    ids=["beside", "in a package beside"],
)
def test_a_changed_neighbour_is_another_model_and_is_never_served_stale(
    name: str, imported: str, tmp_path: Path
) -> None:
    place = tmp_path / name
    place.parent.mkdir(exist_ok=True)
    if place.parent != tmp_path:
        (place.parent / "__init__.py").write_text("")
    (tmp_path / "net.py").write_text(f"{imported}\ndef make():\n    return body()\n")

    def answer(constant: int) -> tuple[float, str]:
        place.write_text(NEIGHBOUR + FIXED.format(constant))
        os.utime(place, (1, 1))  # a change of the same size within one tick of the clock
        found = load_model(f"python:{tmp_path / 'net.py'}:make", TASK)
        return float(found.victim(Inputs(torch.ones(1, 1, 8, 8))).values[0, 0]), found.hash

    (one, first), (two, second) = answer(1), answer(2)
    assert (one, two) == (64.0, 128.0)
    assert first != second
    place.write_text((NEIGHBOUR + FIXED.format(2)).replace("import torch\n", "import torch  # another comment\n"))
    assert hash_now(tmp_path / "net.py") not in (first, second), "code beside it counts, whatever it makes"


def test_neighbours_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    for folder, constant in (("a", 3), ("b", 4)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "parts.py").write_text(NEIGHBOUR + FIXED.format(constant))
        (tmp_path / folder / "net.py").write_text("from parts import body\ndef make():\n    return body()\n")
    found = [load_model(f"python:{tmp_path / folder / 'net.py'}:make", TASK) for folder in ("a", "b", "a")]
    assert [float(one.victim(Inputs(torch.ones(1, 1, 8, 8))).values[0, 0]) for one in found] == [192.0, 256.0, 192.0]
    assert found[0].hash == found[2].hash != found[1].hash


def test_our_own_modules_are_no_neighbours_even_beside_a_file_in_the_clone() -> None:
    """A file that lies where the packages lie does not get them twice."""
    import adversarial.victims
    from tasks.models.neighbours import Neighbours

    neighbours = Neighbours(Path(adversarial.victims.__file__).parent.parent)
    assert neighbours.find_spec("leaderboard") is None
    assert neighbours.find_spec("adversarial.victims", [str(Path(adversarial.victims.__file__).parent)]) is None


def test_where_the_folder_lies_does_not_count_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "parts.py").write_text(NEIGHBOUR + FIXED.format(3))
        (tmp_path / folder / "net.py").write_text("from parts import body\ndef make():\n    return body()\n")
    assert hash_now(tmp_path / "a" / "net.py") == hash_now(tmp_path / "b" / "net.py")
    assert sorted(one.name for one in (tmp_path / "a").iterdir()) == ["net.py", "parts.py"]
    assert str(tmp_path / "a") not in sys.path


def cells(source: str, model_hash: str) -> tuple[PlannedCell, ...]:
    suite = Suite("toy@1", "", (TrialSpec(TASK, NONE, NONE, batch_size=8),), {TASK: "pixels-linf:0.1"})
    model = ModelRef("mine", model_hash, "none", source=source)
    return plan_cells(suite, catalog(), Settings(limit=8), models={TASK: (model,)})


def test_a_model_that_changed_since_it_was_planned_is_not_measured_under_its_old_hash(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(LOADED + KEEPING["a parameter"])
    weights(tmp_path, 1.0)
    source = f"python:{tmp_path / 'net.py'}:make"
    (planned,) = cells(source, hash_now(tmp_path / "net.py"))
    place = Workplace(sources={(TASK, "mine"): source})
    weights(tmp_path, 3.0)
    found = measure(planned, place).result
    assert found.status == "failed"
    assert "another model than when the cells were planned" in found.reason
    weights(tmp_path, 1.0)
    assert measure(planned, place).result.status == "ok"


@pytest.fixture
def submitting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    from benchmarks.running.executors import Serial

    monkeypatch.setattr("benchmarks.running.executors.Process", Serial)  # spares a process for each
    monkeypatch.chdir(tmp_path)
    save_key(tmp_path / "key.pem", generate_key())

    def submit() -> str:
        options = ["--task", TASK, "--name", "mine", "--suite", "mini@1", "--limit", "8", "--despite-problems"]
        done = CliRunner().invoke(cli, ["submit", "python:net.py:make", *options, "--key", "key.pem"])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return submit


def test_changed_weights_are_measured_again_by_submit(tmp_path: Path, submitting: Callable[[], str]) -> None:
    (tmp_path / "net.py").write_text(LOADED + KEEPING["a parameter"])
    weights(tmp_path, 1.0)
    assert " 0 to do" not in submitting()
    assert " 0 to do" in submitting()
    weights(tmp_path, -1.0)
    assert " 0 to do" not in submitting()


def test_weights_that_are_drawn_anew_each_time_are_refused(tmp_path: Path, submitting: Callable[[], str]) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    with pytest.raises(ModelError, match="another model each time"):
        submitting()
    assert not (tmp_path / "runs").exists()
