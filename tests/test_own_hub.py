"""Real data as the Hub lays them out, from a local mirror: handwritten digits, photographs, reviews, spoken digits."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile
from click.testing import CliRunner, Result
from model_sources import load_model

from benchmarks.cli.main import cli
from benchmarks.perf.data import VARIABLE, DataMissing, mirror, pictures
from leaderboard.records.run_folder import RunFolder
from tasks.data import CustomData, open_data
from tasks.image import custom_data as images
from tasks.image.architectures import ResidualNet
from tasks.models.torch_folder import save
from tasks.sentiment import custom_data as reviews
from tasks.speech import custom_data as utterances
from tasks.speech.dataset import WORDS


pytestmark = [
    pytest.mark.usefixtures("datasets_cache", "hub"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
IMAGE, SPEECH, TEXT = "image-digits", "speech-digits", "sentiment-reviews"
MNIST, CIFAR, SST2 = "ylecun/mnist", "uoft-cs/cifar10", "stanfordnlp/sst2"
SPOKEN = "jakobovski/free-spoken-digit-dataset"
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = mirror()
    missing = [name for name in (MNIST, CIFAR, SST2, SPOKEN) if not (folder / name).is_dir()]
    if missing:
        pytest.skip(f"no {', '.join(missing)} in {folder}: set {VARIABLE} to a mirror of the Hub")
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def invoke(*arguments: object) -> Result:
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


def prepared(source: str, task: str, folder: Path, *options: str) -> CustomData:
    where, suffix, _ = invoke("prepare", source, folder, "--task", task, *options).stdout.split("  ")
    found = open_data(Path(where))
    assert found.suffix == suffix
    return found


@pytest.mark.slow
def test_mnist(tmp_path: Path) -> None:
    data = prepared(MNIST, IMAGE, tmp_path, "--size", "8")
    assert (data.manifest.facts["shape"], data.manifest.classes) == ((1, 8, 8), tuple(map(str, range(10))))
    assert {name: split.rows for name, split in data.manifest.splits.items()} == {"test": 10_000, "validation": 512}
    read = images.load(data, "test")
    assert np.bincount(read.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.manifest.reference_models
    options = ["--task", IMAGE, "--model", "undefended", "--attack", "none", "--limit", 200]
    invoke("run", "mini@1", *options, "--data", data.folder, "--executor", "serial", "--out", tmp_path / "runs")
    folder = RunFolder(tmp_path / "runs")
    (suite,) = folder.plans()
    (clean,) = folder.results(folder.read_plan(suite)).values()
    assert clean.examples is not None
    assert len(clean.examples.values) == 200
    assert sum(clean.examples.values) > 40  # other pens and another scanner, and yet more than chance


@pytest.mark.slow
def test_cifar10(tmp_path: Path) -> None:
    data = prepared(CIFAR, IMAGE, tmp_path, "--column", "image=img")
    assert (data.manifest.facts["shape"], data.manifest.classes) == ((3, 32, 32), CIFAR_CLASSES)
    read = images.load(data, "test")
    try:
        plain, labels = pictures(CIFAR, "test", 40)
    except DataMissing as error:
        pytest.skip(str(error))
    found = {image.tobytes(): int(label) for image, label in zip(read.images, read.labels, strict=True)}
    for image, label in zip(plain.numpy(), labels.tolist(), strict=True):
        assert found[image.tobytes()] == label
    arguments = {"width": 4, "channels": 3, "classes": 10}
    save(ResidualNet(**arguments), tmp_path / "net", task=IMAGE, architecture="residual", arguments=arguments)
    invoke("check", f"torch:{tmp_path / 'net'}", "--task", IMAGE, "--data", data.folder)


def test_sst2(tmp_path: Path) -> None:
    data = prepared(SST2, TEXT, tmp_path)
    read = reviews.load(data, "test")
    assert len(read.texts) == 1_821
    assert sorted(set(read.labels)) == [0, 1]
    options = ["--task", TEXT, "--model", "undefended", "--attack", "none", "--attack", "hotflip", "--limit", 60]
    invoke("run", "mini@1", *options, "--data", data.folder, "--executor", "serial", "--out", tmp_path / "runs")
    folder = RunFolder(tmp_path / "runs")
    (suite,) = folder.plans()
    found = {one.cell.attack: one.examples for one in folder.results(folder.read_plan(suite)).values()}
    assert found["none"] is not None
    assert found["hotflip"] is not None
    assert sum(found["none"].values) > 30
    assert sum(found["hotflip"].values) < sum(found["none"].values)


def test_spoken_digits(hub: Path, tmp_path: Path) -> None:
    data = prepared(SPOKEN, SPEECH, tmp_path, "--column", "text=digit")
    assert (data.manifest.facts, data.manifest.reference_models) == ({"rate_hz": 8_000}, True)
    read = utterances.load(data, "test")
    assert len(read.samples) == 300
    assert sorted(set(read.transcripts)) == sorted(WORDS)
    table = pyarrow.parquet.read_table(next((hub / SPOKEN / "data").glob("test-*.parquet"))).to_pylist()
    heard = {samples.tobytes(): text for samples, text in zip(read.samples, read.transcripts, strict=True)}
    for row in table[::7]:
        samples, _ = soundfile.read(io.BytesIO(row["audio"]["bytes"]), dtype="int16")
        assert heard[samples.tobytes()] == WORDS[row["digit"]]
    victim = load_model(f"{SPEECH}/undefended", SPEECH, data).victim
    assert victim.differentiable
    options = ["--task", SPEECH, "--model", "undefended", "--attack", "none", "--limit", 40]
    invoke("run", "mini@1", *options, "--data", data.folder, "--executor", "serial", "--out", tmp_path / "runs")
    folder = RunFolder(tmp_path / "runs")
    (suite,) = folder.plans()
    (clean,) = folder.results(folder.read_plan(suite)).values()
    assert clean.examples is not None
    assert clean.examples.weights == (1.0,) * 40  # a word each; models that learned from synthetic voices miss most
