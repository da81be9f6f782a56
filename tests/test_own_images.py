"""Models on pictures of a user's own: loaded, checked, submitted and verified; boards and cells stay apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import hf_models
import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner, Result
from model_sources import load_model
from own_sources import CLASSES, IMAGE, named_on, prepared, write_pictures, write_rows
from PIL import Image

from adversarial.errors import InvalidOption, ModelError, UnavailableData
from adversarial.inputs import Inputs
from benchmarks.catalog import catalog
from benchmarks.cli.main import cli
from benchmarks.running.cells import ModelRef
from benchmarks.running.measuring import measure
from benchmarks.running.planning import Settings, as_plan, plan_cells
from benchmarks.suites.suite import suite_named
from leaderboard.bundle.signing import generate_key, save_key
from leaderboard.records.run_folder import RunFolder
from tasks.data import CustomData
from tasks.image import custom_data as images
from tasks.image.architectures import Perceptron, ResidualNet
from tasks.models.torch_folder import save


pytestmark = [
    pytest.mark.usefixtures("datasets_cache"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
CPU = torch.device("cpu")
LIMIT = 10
RESIDUAL = {"width": 4, "channels": 3, "classes": 4}


class Arena(NamedTuple):
    """Pictures as a user has them, a transformer and a module of torch that read them, a key, and a run's records."""

    source: Path
    folder: Path

    @property
    def models(self) -> dict[str, str]:
        return {"hf": f"hf:{self.folder / 'vit'}", "torch": f"torch:{self.folder / 'residual'}"}

    @property
    def data(self) -> CustomData:
        return prepared(self.source, IMAGE, self.folder / "runs" / "data")

    @property
    def suite(self) -> str:
        return f"mini@1-{self.data.suffix}-limit{LIMIT}"

    def submit(self, kind: str) -> Path:
        """The bundle, measured at the first call."""
        bundle = self.folder / f"{kind}.rab"
        if not bundle.exists():
            options = ["--task", IMAGE, "--name", f"my-{kind}", "--suite", "mini@1", "--limit", str(LIMIT)]
            places = ["--key", self.folder / "key.pem", "--bundle", bundle, "--out", self.folder / "runs"]
            done = invoke("submit", self.models[kind], *options, "--workers", "1", "--data", self.source, *places)
            assert done.exit_code == 0, done.output
        return bundle


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    folder = tmp_path_factory.mktemp("arena")
    write_pictures(folder / "pictures")
    save_key(folder / "key.pem", generate_key())
    processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    hf_models.save_image(
        folder / "vit", processor=processor, labels=(*(name.upper() for name in CLASSES[::-1]), "pink")
    )
    save(trained(folder), folder / "residual", task=IMAGE, architecture="residual", arguments=RESIDUAL)
    return Arena(folder / "pictures", folder)


def trained(folder: Path) -> torch.nn.Module:
    """A small residual net that tells the colours apart."""
    paths = sorted((folder / "pictures").rglob("*.png"))
    pixels = torch.stack(
        [torch.from_numpy(np.array(Image.open(path)).transpose(2, 0, 1) / 255).float() for path in paths]
    )
    labels = torch.tensor([CLASSES.index(path.parent.name) for path in paths])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = ResidualNet(**RESIDUAL)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(25):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(pixels), labels).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return module.eval()


def test_a_transformer_sees_what_its_processor_makes_of_the_pictures(arena: Arena) -> None:
    found = load_model(arena.models["hf"], IMAGE, arena.data)
    assert found.facts["front_end_checked"] == "against the image processor"
    assert found.facts["labels"] == "3=BLUE, 2=DARK, 1=GREEN, 0=RED"
    read = images.load(arena.data, "test")
    scores = found.victim(Inputs(torch.from_numpy(read.images[:6]))).values
    processor = transformers.AutoImageProcessor.from_pretrained(arena.folder / "vit", use_fast=False)
    module = transformers.ViTForImageClassification.from_pretrained(arena.folder / "vit")
    levels = [np.round(image * 255).astype(np.uint8).transpose(1, 2, 0) for image in read.images[:6]]
    with torch.no_grad():
        plain = module(**processor(levels, return_tensors="pt")).logits
    assert torch.allclose(scores, plain[:, [3, 2, 1, 0, 4]], atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hf", "torch"])
def test_from_a_folder_of_pictures_to_a_verdict(kind: str, arena: Arena) -> None:
    done = invoke("check", arena.models[kind], "--task", IMAGE, "--data", arena.source, "--json")
    report = json.loads(done.stdout)
    assert report["ok"], report
    (scores,) = (one["detail"] for one in report["checks"] if one["name"] == "scores")
    assert scores == f"[8, {5 if kind == 'hf' else 4}] for [8, 3, 12, 12]"  # one of the transformer's is no class
    bundle = arena.submit(kind)
    done = invoke("verify", bundle, "--data", arena.data.folder, "--rerun", 1, "--nonce", "5f", "--json")
    assert done.exit_code == 0, done.output
    verdict = json.loads(done.stdout)
    assert verdict["level"] == "re-run"
    assert sorted(cell["check"] for cell in verdict["cells"]).count("re-run") == 1
    records = RunFolder(arena.folder / "runs")
    results = [records.read_result(cell["id"]) for cell in verdict["cells"]]
    values = {one.cell.attack: one.examples.values for one in results if one is not None and one.examples is not None}
    assert len(values["pgd"]) == LIMIT
    assert all(after <= before for after, before in zip(values["pgd"], values["none"], strict=True))
    if kind == "torch":
        assert sum(values["none"]) >= 9
        assert sum(values["pgd"]) < sum(values["none"])


def test_whoever_verifies_needs_the_same_data(arena: Arena, tmp_path: Path) -> None:
    bundle, suffix = arena.submit("torch"), arena.data.suffix
    other = prepared(write_pictures(tmp_path / "more", 9), IMAGE, tmp_path)
    for given in ((), ("--data", other.folder)):
        done = invoke("verify", bundle, *given, "--json")
        assert done.exit_code == 1
        assert done.stdout == ""  # it is not the bundle's fault
        assert isinstance(done.exception, UnavailableData)
        assert f"measured on own data, {suffix}; give them with --data" in str(done.exception)
    both = invoke("verify", bundle, "--data", other.folder, "--data", arena.data.folder, "--json")
    assert json.loads(both.stdout)["level"] == "re-scored"


def test_changed_data_are_no_data(arena: Arena, tmp_path: Path) -> None:
    data = prepared(arena.source, IMAGE, tmp_path)
    path = data.folder / "test.safetensors"
    spoilt = bytearray(path.read_bytes())
    spoilt[-1] ^= 1
    path.write_bytes(spoilt)
    done = invoke("verify", arena.submit("torch"), "--data", data.folder, "--json")
    assert (done.exit_code, done.stdout) == (1, "")
    assert isinstance(done.exception, UnavailableData)
    assert "it was changed after it was prepared" in str(done.exception)


def test_cells_are_of_the_data(arena: Arena, tmp_path: Path) -> None:
    other = prepared(write_pictures(tmp_path / "more", 9), IMAGE, tmp_path)
    models = {IMAGE: (ModelRef("mine", "h" * 64, "none", source=arena.models["torch"]),)}
    found = [
        {
            cell.id
            for cell in plan_cells(suite_named(catalog(), "mini@1"), catalog(), Settings(data=data), models=models)
        }
        for data in (None, arena.data, other)
    ]
    assert len({len(ids) for ids in found}) == 1
    assert len(set.union(*found)) == sum(map(len, found))
    copy = Settings(data=prepared(arena.source, IMAGE, tmp_path))
    again = plan_cells(suite_named(catalog(), "mini@1"), catalog(), copy, models=models)
    assert {cell.id for cell in again} == found[1]
    assert {cell.cell.data_hash for cell in again} == {arena.data.data_hash("test")} != {other.data_hash("test")}


def test_models_that_do_not_read_the_data_say_so(arena: Arena, tmp_path: Path) -> None:
    done = invoke("run", "mini@1", "--task", IMAGE, "--data", arena.source, "--out", tmp_path)
    assert isinstance(done.exception, InvalidOption)
    assert "the reference models of image-digits do not read these data; bring a model" in str(done.exception)
    with pytest.raises(ModelError, match=r"undefended does not read pixels, float32 \[batch, 3, 12, 12\]"):
        load_model(f"{IMAGE}/undefended", IMAGE, arena.data)
    arguments = {"width": 8, "pixels": 3 * 12 * 12, "classes": 3}
    save(Perceptron(**arguments), tmp_path / "three", task=IMAGE, architecture="perceptron", arguments=arguments)
    with pytest.raises(ModelError, match=r"scores have the shape \[1, 3\], expected \[1, 4\]; the data want logits"):
        load_model(f"torch:{tmp_path / 'three'}", IMAGE, arena.data)
    hf_models.save_image(tmp_path / "digits")
    with pytest.raises(ModelError, match="no output is called 'blue'"):
        load_model(f"hf:{tmp_path / 'digits'}", IMAGE, arena.data)
    hf_models.save_image(tmp_path / "grey", labels=CLASSES, num_channels=1)
    with pytest.raises(ModelError, match="the model reads grey pictures, and these have 3 channels"):
        load_model(f"hf:{tmp_path / 'grey'}", IMAGE, arena.data)


def test_transfer_needs_a_model_that_reads_the_data(arena: Arena) -> None:
    model = ModelRef("mine", "h" * 64, "none", source=arena.models["torch"])
    cells = plan_cells(suite_named(catalog(), "mini@2"), catalog(), Settings(data=arena.data), models={IMAGE: (model,)})
    (transfer,) = (cell for cell in cells if cell.cell.attack == "transfer")
    assert transfer.reason == "transfer needs another reference model of the task that reads the data"
    record = measure(transfer).result
    assert (record.status, record.reason, record.examples) == ("n/a", transfer.reason, None)


def test_reference_models_read_pictures_like_theirs_on_a_board_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    draw, rows = np.random.default_rng(0), []
    for number in range(40):
        Image.fromarray(draw.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "p" / f"{number}.png")
        rows.append({"path": f"p/{number}.png", "label": number % 10})
    table = write_rows(tmp_path / "rows.csv", rows)
    data, out = prepared(table, IMAGE, tmp_path / "data"), tmp_path / "runs"
    assert data.manifest.reference_models
    chosen: list[Any] = ["--task", IMAGE, "--model", "undefended", "--limit", 6, "--executor", "serial", "--out", out]
    for given in (["--data", data.folder], ["--data", table], []):
        done = invoke("run", "mini@1", *chosen, *given)
        assert done.exit_code == 0, done.output
        assert given != ["--data", table] or "cells, 0 to do" in done.stderr
    name = f"mini@1-{data.suffix}-limit6"
    assert RunFolder(out).plans() == (name, "mini@1-limit6")
    own, bundled = (
        json.loads(invoke("table", "--out", out, "--suite", suite, "--json").stdout)["suite"]
        for suite in (name, "mini@1-limit6")
    )
    assert (own, bundled) == (name, "mini@1-limit6")
    assert invoke("table", "--out", out).exit_code == 2
    assert " cells, 0 to do" in invoke("plan", "mini@1", *chosen[:6], "--out", out, "--data", data.folder).stdout
    transfer = plan_cells(suite_named(catalog(), "mini@2"), catalog(), Settings(data=data))
    assert not [cell.reason for cell in transfer if cell.cell.attack == "transfer" and cell.reason]


def test_a_site_shows_the_pictures_under_their_names(arena: Arena, tmp_path: Path) -> None:
    arena.submit("torch")
    data = arena.data
    model = ModelRef("my-torch", load_model(arena.models["torch"], IMAGE, data).hash, "none", source="bundle")
    planned = plan_cells(
        suite_named(catalog(), "mini@1"), catalog(), Settings(limit=LIMIT, data=data), models={IMAGE: (model,)}
    )
    folder = RunFolder(arena.folder / "runs")
    folder.write_plan(as_plan(suite_named(catalog(), "mini@1"), planned, Settings(limit=LIMIT, data=data)))
    done = invoke("site", tmp_path / "site", "--suite", arena.suite, "--out", arena.folder / "runs")
    assert done.exit_code == 0, done.output
    (page,) = (tmp_path / "site").rglob("entries/*.html")
    labels = dict(zip(data.ids("test"), images.load(data, "test").labels, strict=True))
    named = named_on(page)
    assert named
    assert all(CLASSES[labels[example]] == name for example, name in named.items())
