"""`robustarena check`: what is sound passes, and each thing that can be wrong is named, with what to do."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import hf_models
import pytest
import torch
import transformers
from click.testing import CliRunner
from model_sources import load_model, registry, source_of, task_named

from adversarial.errors import InvalidOption
from adversarial.inputs import Scores
from benchmarks.checking.checks import CHECKS
from benchmarks.checking.report import Report, check_model
from benchmarks.cli.main import cli
from tasks.image.model import ARCHITECTURES
from tasks.models.torch_folder import save


ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
TASKS = ("image-digits", "speech-digits", "sentiment-reviews", "control-cartpole")
HEAD = """
import torch
from torch import nn
from torch.nn import functional
from adversarial.inputs import Inputs, Scores
from adversarial.victims import ModuleVictim

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(64, 10)
    def forward(self, images):
        return self.after(self.linear(images.flatten(1)))
    def after(self, logits):
        return logits

class Own:
    differentiable = True
    def __init__(self, module):
        self.module = module
    def __call__(self, inputs):
        return Scores(self.module(inputs.values))

def make():
    return Net()
"""


def checked(model: str, task: str = "image-digits") -> Report:
    return check_model(source_of(model), registry().task(task), registry(), CPU)


def own(tmp_path: Path, code: str, task: str = "image-digits") -> Report:
    """What is found about a file with HEAD and some code after it, which defines things anew."""
    (tmp_path / "net.py").write_text(HEAD + code)
    with torch.random.fork_rng(devices=[]):
        return checked(f"python:{tmp_path / 'net.py'}:make", task)


def level(report: Report, name: str) -> str:
    return {check.name: check.level for check in report.checks}[name]


@pytest.mark.parametrize("task", TASKS)
def test_reference_models_are_sound(task: str) -> None:
    report = checked(f"{task}/undefended", task)
    assert report.ok
    assert {check.level for check in report.checks} == {"ok"}
    expected = {"loads", "evaluation-mode", "scores", "weights", "clean", *CHECKS}
    assert {check.name for check in report.checks} == expected - (set() if task == "sentiment-reviews" else {"vectors"})
    assert len(report.hash) == 64
    assert report.carried


@pytest.mark.parametrize("task", TASKS)
def test_what_a_task_says_of_its_models_is_true_of_them(task: str) -> None:
    domain, victim = task_named(task), load_model(f"{task}/undefended", task).victim
    inputs, goal = domain.sample(4, CPU)
    assert len(inputs) == 4
    scores = victim(inputs)
    assert domain.fault(scores, inputs, 0) == ""
    assert goal is None or bool(torch.isfinite(goal.loss(scores, "ce")).all())
    classes = domain.interface.classes
    assert classes == (scores.values.shape[1] if scores.values.ndim == 2 else None)
    short = Scores(scores.values[..., :-1], scores.mask)
    assert "scores have the shape [4" in domain.fault(short, inputs, 0)
    if classes is not None:  # what stands for no class comes after those
        longer = Scores(torch.cat([scores.values, scores.values[:, :1]], 1))
        assert domain.fault(longer, inputs, 1) == ""
        assert domain.fault(longer, inputs, 0)
    wrapped = domain.wrap(victim.module.train().requires_grad_(True))  # type: ignore[attr-defined]
    assert not any(part.training for part in wrapped.module.modules())
    assert not any(weight.requires_grad for weight in wrapped.module.parameters())
    assert torch.equal(wrapped(inputs).values, scores.values)


def test_models_of_transformers_are_sound(tmp_path: Path) -> None:
    hf_models.save_image(tmp_path / "image", processor=transformers.ViTImageProcessor(size={"height": 16, "width": 16}))
    hf_models.save_text(tmp_path / "text")
    for folder, task in (("image", "image-digits"), ("text", "sentiment-reviews")):
        report = checked(f"hf:{tmp_path / folder}", task)
        assert report.ok, report.checks
        assert "labels" in report.facts


WRONG = {
    "nan": ("Net.after = lambda self, x: torch.log(x)", "range", "NaN or infinity"),
    "dropout": ("Net.after = lambda self, x: functional.dropout(x, 0.5, True)", "same-again", "two passes"),
    "train-mode": ("def make(): return Own(nn.Sequential(Net(), nn.Dropout()))", "evaluation-mode", "Dropout"),
    "batch-norm": (
        "def make(): return Own(nn.Sequential(Net(), nn.BatchNorm1d(10)))",
        "batching",
        "row alone is not answered",
    ),
    "company": ("Net.after = lambda self, x: x - x.mean(0)", "batching", "in a batch differ"),
    "detached": ("Net.after = lambda self, x: x.detach()", "gradient", "no gradient of the scores reaches"),
    "steps": ("Net.after = lambda self, x: x.round()", "gradient", "zero in every row"),
    "broken-gradient": (
        "Net.after = lambda self, x: x * (1 + (x - x).pow(2).sum(1, keepdim=True).sqrt())",
        "gradient",
        "NaN or infinity",
    ),
    "nine-classes": ("Net.after = lambda self, x: x[:, :9]", "scores", r"shape \[8, 9\]"),
    "one-row": (
        "Net.after = lambda self, x: x[:1]",
        "answers",
        r"answers \[1, 10\] to 8 rows; expected \[8, classes\]",
    ),
    "one-score": (
        "Net.after = lambda self, x: x[:1]\ndef make(): return Own(Net())",
        "scores",
        "8 examples, and scores of shape",
    ),
    "float64": ("Net.after = lambda self, x: x.double()\ndef make(): return Own(Net())", "scores", "expected float32"),
    "tuple": ("Own.__call__ = lambda self, inputs: 3\ndef make(): return Own(Net())", "scores", "answers int"),
    "raises": ("Net.after = lambda self, x: x.view(3)", "answers", "RuntimeError"),
    "counter": (
        "class Counting(Net):\n    def __init__(self):\n        super().__init__()\n"
        "        self.register_buffer('passes', torch.zeros(1))\n"
        "    def after(self, x):\n        self.passes += 1\n        return x\n"
        "def make(): return Counting()",
        "weights",
        "changed its weights or buffers",
    ),
    "writes": (
        "class Writing(Net):\n    def forward(self, x):\n        return super().forward(x.clamp_(0.1, 0.9))\n"
        "def make(): return Writing()",
        "inputs",
        "writes into its inputs",
    ),
}


def test_scores_that_are_no_numbers_hide_what_follows_from_them(tmp_path: Path) -> None:
    """Two passes that differ by NaN say nothing about chance, and so on."""
    report = own(tmp_path, WRONG["nan"][0])
    assert [one.name for one in report.checks if one.level == "problem"] == ["range"]


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_with_what_to_do(name: str, tmp_path: Path) -> None:
    code, check, said = WRONG[name]
    report = own(tmp_path, code)
    assert not report.ok
    found = next(entry for entry in report.checks if entry.name == check)
    assert found.level == "problem"
    assert re.search(said, found.detail), found.detail
    assert found.advice


NOTES = {
    "chance": ("Net.after = lambda self, x: x + 100 * torch.eye(10)[9]", "clean", "hardly better than chance"),
    "probabilities": ("Net.after = lambda self, x: x.softmax(1)", "range", "look like probabilities"),
    "blind": ("Own.differentiable = False\ndef make(): return Own(Net().eval())", "gradient", "not differentiable"),
    "learning": ("def make(): return Own(Net().eval())", "evaluation-mode", "still collect gradients"),
}


@pytest.mark.parametrize("name", NOTES)
def test_what_is_only_odd_is_noted(name: str, tmp_path: Path) -> None:
    code, check, said = NOTES[name]
    report = own(tmp_path, code)
    assert report.ok
    assert level(report, check) == "note"
    assert any(said in entry.detail and entry.advice for entry in report.checks)


def test_readers_without_vectors_and_with_false_ones(tmp_path: Path) -> None:
    without = "def make():\n    from tasks.sentiment.architectures import BagOfWords\n    bag = BagOfWords(8, 8, 64)\n"
    blind = "    class Blind(Own):\n        def __call__(self, i): return Scores(self.module(i.values, i.mask))\n"
    blind += "    return Blind(bag.eval().requires_grad_(False))\n"
    report = own(tmp_path, without + blind, "sentiment-reviews")
    assert report.ok
    assert level(report, "gradient") == "note"
    wrong = without + "    plain = bag.words\n    bag.embed = lambda ids: plain(ids) + 1\n    bag.forward_ids = plain\n"
    wrong += "    forward = bag.forward\n"
    wrong += "    bag.forward = lambda v, m=None: forward(v if v.is_floating_point() else plain(v), m)\n"
    wrong += "    class Reader(Own):\n        def embed(self, ids): return bag.embed(ids)\n"
    wrong += "        def __call__(self, inputs): return Scores(bag(inputs.values, inputs.mask))\n"
    report = own(tmp_path, wrong + "    return Reader(bag.eval())\n", "sentiment-reviews")
    assert level(report, "vectors") == "problem"


def test_speech_models_need_masks_and_enough_symbols(tmp_path: Path) -> None:
    code = "class Ear(nn.Module):\n    def forward(self, samples, mask):\n        frames = samples[:, ::160, None]\n"
    few = own(tmp_path, code + "        return frames.expand(-1, -1, 5), mask[:, ::160]\nmake = Ear\n", "speech-digits")
    assert level(few, "scores") == "problem"
    bare = own(tmp_path, code + "        return frames.expand(-1, -1, 17), None\nmake = Ear\n", "speech-digits")
    assert "mask of real frames" in bare.checks[-1].detail


def test_a_model_that_does_not_load_is_one_problem(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    report = checked(f"hf:{tmp_path}")
    assert [check.name for check in report.checks] == ["loads"]
    assert "such files can run code" in report.checks[0].detail


def test_devices_have_names() -> None:
    done = invoked("hf:x", "--task", "image-digits", "--device", "cudaa")
    assert isinstance(done.exception, InvalidOption)
    assert "no device is called 'cudaa'" in str(done.exception)


def invoked(*words: str) -> Any:
    return CliRunner().invoke(cli, ["check", *words])


def test_the_command_prints_what_it_found(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        module = ARCHITECTURES["residual"](width=4)
    save(module, tmp_path, task="image-digits", architecture="residual", arguments={"width": 4})
    done = invoked(f"torch:{tmp_path}", "--task", "image-digits")
    assert done.exit_code == 0, done.output
    assert "residual" in done.output
    assert "nothing is wrong" in done.output
    plain = json.loads(invoked(f"torch:{tmp_path}", "--task", "image-digits", "--json").output)
    assert plain["ok"]
    assert {"name", "level", "detail", "advice"} == set(plain["checks"][0])
    wrong = invoked(f"torch:{tmp_path}", "--task", "speech-digits", "--json")
    assert wrong.exit_code == 1
    assert "is a model of image-digits" in json.loads(wrong.output)["checks"][0]["detail"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("hff:x", "--task", "image-digits"), 2, "did you mean 'hf'"),
        (("hf:x", "--task", "image-digit"), 2, "did you mean 'image-digits'"),
        (("python:nowhere.py:make", "--task", "image-digits"), 1, "1 problem"),
    ],
)
def test_bad_input_is_answered_with_what_to_do(words: tuple[str, ...], code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import robustarena; robustarena.main()", "check", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
