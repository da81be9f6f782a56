"""Sources of models: what they may be called, folders of torch modules, files of the user's own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from model_sources import load_model, registry, source_of, task_named
from torch import nn

from adversarial.entries import SourceEntry
from adversarial.errors import InvalidOption, ModelError, UnknownName
from adversarial.inputs import Inputs
from adversarial.ledger import Ledger
from adversarial.victims import EmbeddingVictim
from benchmarks.catalog import catalog
from tasks.control.cartpole import CARTPOLE
from tasks.control.model import architectures
from tasks.image.model import ARCHITECTURES as IMAGE
from tasks.measuring.protocol import Trial
from tasks.models import LoadedModel, Source, hash_of, load_source, parse
from tasks.models.torch_folder import save
from tasks.sentiment.model import ARCHITECTURES as SENTIMENT
from tasks.speech.model import ARCHITECTURES as SPEECH


ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
DIGITS = "image-digits"
ARCHITECTURES = {
    "image-digits": IMAGE,
    "speech-digits": SPEECH,
    "sentiment-reviews": SENTIMENT,
    "control-cartpole": architectures(CARTPOLE),
}
ALL = [(task, name) for task, own in ARCHITECTURES.items() for name in own]


def loaded(text: str, task: str = DIGITS) -> LoadedModel:
    return load_model(text, task)


def made(task: str, name: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ARCHITECTURES[task][name]()


# Names of sources


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf:org/model", Source("hf", "org/model")),
        ("hf:C:/models/one", Source("hf", "C:/models/one")),
        ("torch:models/mine", Source("torch", "models/mine")),
        ("sb3:agent.zip", Source("sb3", "agent.zip")),
        ("sb3:agent.zip:relu", Source("sb3", "agent.zip", "relu")),
        ("python:net.py:make", Source("python", "net.py", "make")),
        ("python:C:/net.py:make", Source("python", "C:/net.py", "make")),
        ("reference:image-digits/undefended", Source("reference", "image-digits/undefended")),
        ("image-digits/undefended", Source("reference", "image-digits/undefended")),
    ],
)
def test_sources_are_read(text: str, source: Source) -> None:
    assert source_of(text) == source
    assert source_of(str(source)) == source


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("hff:model", UnknownName, "did you mean 'hf'"),
        ("pyton:net.py:make", UnknownName, "did you mean 'python'"),
        ("torhc:folder", UnknownName, "did you mean 'torch'"),
        ("models/mine", InvalidOption, "expected KIND:LOCATION with a kind of hf, torch, sb3, python"),
        ("hf:", InvalidOption, "expected KIND:LOCATION"),
        ("", InvalidOption, "expected KIND:LOCATION"),
        ("python:net.py", InvalidOption, "expected python:LOCATION:NAME, got .*a function in it"),
    ],
)
def test_what_is_no_source_says_what_one_is(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        source_of(text)


def test_sources_are_read_without_torch() -> None:
    code = "from benchmarks.catalog import catalog; from tasks.models import parse; parse('hf:x', catalog())"
    code += "; import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_kind_that_a_task_cannot_read_is_refused_with_those_that_it_can() -> None:
    kinds = {entry.name for entry in registry().all(SourceEntry)}
    assert all(set(entry.loaders) <= kinds for entry in registry().tasks())
    with pytest.raises(ModelError, match="hf: models do not fit control-cartpole; it takes torch, sb3, python"):
        loaded("hf:anything", "control-cartpole")
    with pytest.raises(ModelError, match="sb3: models do not fit image-digits"):
        loaded("sb3:agent.zip")


PLUGIN = """
import torch
from adversarial.entries import SourceEntry, TaskEntry
from adversarial.victims import ModuleVictim
from tasks.models import LoadedModel

def zeros(source, task, device, data):
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)).to(device)
    files = {"model.safetensors": source.path}
    return LoadedModel(source, ModuleVictim(module), "0" * 64, files, {"task": task.name, "part": source.attribute})

def register(registry):
    registry.add(SourceEntry("zeros", "a layer of no account", code=zeros, attribute="optional"))
    registry.add(SourceEntry("ours", "what one task alone reads"))
    digits = registry.registry.task("image-digits")
    registry.add(TaskEntry(
        "mine", digits.code, digits.data_hash, "the same once more", ("pixels",), (), "", loaders={"ours": zeros}
    ))
"""


def test_a_kind_of_a_plugin_is_loaded_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    known = catalog([tmp_path / "plugin.py"])
    assert parse("zeros:here:left", known) == Source("zeros", "here", "left")
    assert parse("mine/model", known) == Source("reference", "mine/model")
    found = load_source(parse("zeros:here:left", known), known.task(DIGITS), known, CPU)
    assert found.facts == {"task": DIGITS, "part": "left"}
    assert not found.carried, "only what its entry says that bundles hold is carried"
    assert load_source(parse("ours:here", known), known.task("mine"), known, CPU).facts["task"] == "mine"
    with pytest.raises(ModelError, match="ours: models do not fit image-digits; it takes hf, torch, python, reference"):
        load_source(parse("ours:here", known), known.task(DIGITS), known, CPU)
    with pytest.raises(ModelError, match=r"it takes torch, python, reference, zeros, ours$"):
        load_source(parse("sb3:agent.zip", known), known.task("mine"), known, CPU)
    with pytest.raises(UnknownName, match="no kind of model is called 'zeros'"):
        source_of("zeros:here")
    with pytest.raises(UnknownName, match="no reference model of mine is called"):
        load_source(parse("mine/undefended", known), known.task("mine"), known, CPU)


def test_how_a_plugin_reads_a_model_is_part_of_what_the_model_is(tmp_path: Path) -> None:
    """The same files, read in another way, are another model: its numbers must not stand under the first one's id."""
    hashes = []
    for text in (PLUGIN, PLUGIN + "# a change\n"):
        (tmp_path / "plugin.py").write_text(text)
        known = catalog([tmp_path / "plugin.py"])
        hashes.append(load_source(parse("zeros:here", known), known.task(DIGITS), known, CPU).hash)
    assert len({*hashes, "0" * 64}) == 3
    assert loaded("image-digits/undefended", DIGITS).hash == loaded("reference:image-digits/undefended", DIGITS).hash


# torch: and reference:


@pytest.mark.parametrize(("task", "name"), ALL)
def test_every_architecture_can_be_saved_loaded_and_measured(task: str, name: str, tmp_path: Path) -> None:
    save(made(task, name), tmp_path, task=task, architecture=name, arguments={}, defense="mixup")
    found = loaded(f"torch:{tmp_path}", task)
    assert found.carried
    assert (found.facts["architecture"], found.facts["defense"]) == (name, "mixup")
    assert set(found.files) == {"model.safetensors", "card.json"}
    domain = task_named(task)
    measured = domain.measure(found.victim, Trial(None, None, limit=4), Ledger())
    assert not measured.findings
    assert not any(weight.requires_grad for weight in found.victim.module.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize(("task", "name"), [pair for pair in ALL if pair[0] in ("speech-digits", "sentiment-reviews")])
def test_neither_padding_nor_company_changes_a_row(task: str, name: str, tmp_path: Path) -> None:
    save(made(task, name), tmp_path, task=task, architecture=name, arguments={})
    victim = loaded(f"torch:{tmp_path}", task).victim
    domain = task_named(task)
    (batch,) = domain.batches("test", 5, 5, CPU)
    together = victim(batch.inputs)
    for row in range(5):
        single = victim(batch.inputs.alone(row))
        own = together.values[row] if together.mask is None else together.values[row][together.mask[row]]
        assert torch.allclose(own, single.values[0], atol=1e-5)


@pytest.mark.parametrize("name", SENTIMENT)
def test_readers_of_reviews_read_vectors_too(name: str, tmp_path: Path) -> None:
    save(made("sentiment-reviews", name), tmp_path, task="sentiment-reviews", architecture=name, arguments={})
    victim = loaded(f"torch:{tmp_path}", "sentiment-reviews").victim
    assert isinstance(victim, EmbeddingVictim)
    domain = task_named("sentiment-reviews")
    (batch,) = domain.batches("test", 5, 5, CPU)
    vectors = Inputs(victim.embed(batch.inputs.values), batch.inputs.mask)
    assert torch.allclose(victim(vectors).values, victim(batch.inputs).values, atol=1e-6)


def test_a_reference_model_is_a_folder_that_ships() -> None:
    found = loaded("image-digits/undefended")
    again = loaded(f"torch:{Path(registry().task(DIGITS).folder) / 'undefended'}")
    assert found.hash == again.hash == hash_of(again.files)
    with pytest.raises(UnknownName, match="did you mean 'undefended'"):
        loaded("reference:image-digits/undefendd")
    with pytest.raises(ModelError, match="is no model of image-digits"):
        loaded("reference:speech-digits/undefended")


def test_the_hash_is_of_names_and_contents(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        save(made(DIGITS, "perceptron"), tmp_path / folder, task=DIGITS, architecture="perceptron", arguments={})
    one = loaded(f"torch:{tmp_path / 'one'}")
    assert loaded(f"torch:{tmp_path / 'two'}").hash == one.hash
    assert hash_of({"other.safetensors": one.files["model.safetensors"]}) != hash_of(
        {"model.safetensors": one.files["model.safetensors"]}
    )
    text = (tmp_path / "two" / "card.json").read_text(encoding="utf-8")
    (tmp_path / "two" / "card.json").write_text(text.replace("mine", "yours"), encoding="utf-8")
    assert loaded(f"torch:{tmp_path / 'two'}").hash != one.hash


def _card(**changes: Any) -> Any:
    def spoil(folder: Path) -> None:
        plain = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        (folder / "card.json").write_text(json.dumps({**plain, **changes}), encoding="utf-8")

    return spoil


def _only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "weights.pt")


def _nan(folder: Path) -> None:
    module = made(DIGITS, "perceptron")
    with torch.no_grad():
        next(module.parameters())[0, 0] = float("nan")
    save(module, folder, task=DIGITS, architecture="perceptron", arguments={})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_card(task="speech-digits"), "is a model of speech-digits, not of image-digits"),
        (_card(architecture="perceptrn"), "did you mean 'perceptron'"),
        (_card(architecture=["perceptron"]), "architecture must be text"),
        (_card(arguments={"width": 10**12}), "argument width must be a number from 0 to"),
        (_card(arguments={"width": "128"}), "argument width must be a number"),
        (_card(arguments={"depth": 3}), "do not fit perceptron"),
        (_card(arguments={"width": 7}), "the architecture has"),
        (_card(recipe=[]), "arguments and recipe must be objects"),
        (_card(weights_sha256="0" * 64), "its card says 000000000000"),
        (_card(surprise=1), "is not a model card"),
        (lambda folder: (folder / "card.json").unlink(), "no card.json in"),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "no model.safetensors in .*torch_folder.save writes it",
        ),
        (_only_a_pickle, "has its weights in weights.pt; such files can run code and are never loaded"),
        (_nan, "holds NaN or infinite weights"),
        (lambda folder: shutil.rmtree(folder), "is no folder"),
    ],
)
def test_folders_that_cannot_be_used_say_why(spoil: Any, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save(made(DIGITS, "perceptron"), folder, task=DIGITS, architecture="perceptron", arguments={})
    spoil(folder)
    with pytest.raises((ModelError, UnknownName), match=said):
        loaded(f"torch:{folder}")


# python:


def test_a_function_of_the_users_own_makes_the_model(tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("WIDTH = 10\n")
    code = (
        "import torch\nfrom parts import WIDTH\n"
        "def make():\n    parts = torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(64, WIDTH)\n"
        "    return torch.nn.Sequential(*parts)\n"
    )
    (tmp_path / "net.py").write_text(code)
    found = loaded(f"python:{tmp_path / 'net.py'}:make")
    assert not found.carried
    assert not found.files
    assert not found.victim.module.training  # type: ignore[attr-defined]
    assert found.victim(Inputs(torch.rand(2, 1, 8, 8))).values.shape == (2, 10)
    (tmp_path / "net.py").write_text(code + "# another version\n")
    assert loaded(f"python:{tmp_path / 'net.py'}:make").hash != found.hash
    assert str(tmp_path) not in sys.path


def test_a_reader_of_the_users_own_offers_its_vectors(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from tasks.sentiment.architectures import BagOfWords\n"
        "def make():\n    return BagOfWords(width=8, buckets=64)\n"
    )
    found = loaded(f"python:{tmp_path / 'net.py'}:make", "sentiment-reviews")
    assert isinstance(found.victim, EmbeddingVictim)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def mkae(): pass", "net.py has no function 'make'; did you mean 'mkae'"),
        ("make = 3", "net.py has no function 'make'"),
        ("def make(", "net.py: SyntaxError"),
        ("import nowhere_at_all", "net.py: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise SystemExit(0)", "net.py: SystemExit"),
        ("def make(): return 1 / 0", r"net.py: make\(\) raised ZeroDivisionError"),
        ("def make(): exit()", r"net.py: make\(\) raised SystemExit"),
        ("def make(): return 3", r"net.py:make returned int; expected a torch module from pixels, .* to logits"),
    ],
)
def test_errors_of_the_users_own_code_name_file_and_function(code: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(code + "\n")
    with pytest.raises(ModelError, match=said):
        loaded(f"python:{tmp_path / 'net.py'}:make")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*net.py.*expected python:FILE.py:FUNCTION"):
        loaded(f"python:{tmp_path / 'net.py'}:make")


def test_the_page_names_every_kind_and_architecture_and_its_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "bring.md").read_text(encoding="utf-8")
    for name in (*(name for _, name in ALL), *(f"{kind}:" for kind in ("hf", "torch", "sb3", "python"))):
        assert f"`{name}" in page, name
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "docs/bring.md", "exec"), {})
    assert loaded("torch:my-model").facts["architecture"] == "perceptron"
