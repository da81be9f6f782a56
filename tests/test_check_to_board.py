"""Each kind of model that users bring goes all the way: checked, measured, sent, verified by a worker, on the board."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import hf_models
import httpx
import pytest
import speech_models
import torch
import transformers
from broken_bundles import bound, packed
from click.testing import CliRunner, Result
from serving import ROOT, Place, end, place, reaches, serving, state, until
from stable_baselines3 import PPO
from stores import KEY
from test_bundle import everything_in

from adversarial.inputs import Inputs
from benchmarks.cli.main import cli
from leaderboard.bundle.names import record_path
from leaderboard.bundle.reading import open_bundle
from leaderboard.bundle.signing import save_key
from leaderboard.bundle.writing import extract
from tasks.speech.preprocessing import resampled
from tasks.speech.task import make as speech


LIMIT = 4
SUITE = f"mini@1-limit{LIMIT}"
CARRIED = {".safetensors", ".json", ".txt", ".md"}

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Kind:
    """A kind of model. make: writes one into a folder and returns its name for commands. facts: what check says of it.

    clean: the least quality of it on the board, which it can only have where it is read as it was trained.
    """

    task: str
    make: Callable[[Path], str]
    facts: tuple[str, ...]
    clean: float = 0.75


def whisper(folder: Path) -> str:
    (batch,) = speech().batches("test", LIMIT, LIMIT, torch.device("cpu"))
    heard = Inputs(*resampled(batch.inputs, 16_000))
    speech_models.save_whisper(folder, (heard, [str(text) for text in batch.truth]))
    return f"hf:{folder}"


def ctc(folder: Path) -> str:
    speech_models.save_ctc(folder, "Hubert", "layer")
    hf_models.teach(folder, "speech-digits", LIMIT, rate=1e-2)
    return f"hf:{folder}"


def image(folder: Path) -> str:
    processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    hf_models.save_image(folder, processor=processor, labels=hf_models.DIGITS[::-1])
    hf_models.teach(folder, "image-digits", LIMIT)
    return f"hf:{folder}"


def text(folder: Path) -> str:
    hf_models.save_text(folder, labels=hf_models.SENTIMENTS[::-1])
    hf_models.teach(folder, "sentiment-reviews", LIMIT)
    return f"hf:{folder}"


def agent(folder: Path) -> str:
    made = PPO("MlpPolicy", "CartPole-v1", seed=0, n_steps=32, batch_size=16, n_epochs=1, device="cpu")
    made.learn(40)
    made.save(folder / "agent.zip")
    return f"sb3:{folder / 'agent.zip'}"


KINDS = {
    "whisper": Kind("speech-digits", whisper, ("WhisperForConditionalGeneration", "sampling rate       16,000")),
    "ctc": Kind("speech-digits", ctc, ("HubertForCTC", "sampling rate  16,000")),
    "image": Kind("image-digits", image, ("ViTForImageClassification", "against the image processor", "0=nine")),
    "text": Kind("sentiment-reviews", text, ("DistilBertForSequenceClassification", "1=NEGATIVE, 0=POSITIVE")),
    "agent": Kind("control-cartpole", agent, ("PPO", "tanh", "4-64-64-2"), clean=0.0),
}


class Journey(NamedTuple):
    """A server that all were sent to, and a worker has verified. folder: of the bundles; ids: of them, by name."""

    where: Place
    client: httpx.Client
    folder: Path
    ids: dict[str, str]


def command(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, list(words), env=environment)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What names each model on the command line."""
    found = {}
    for name, kind in KINDS.items():
        (folder := tmp_path_factory.mktemp("models") / name).mkdir()
        found[name] = kind.make(folder)
    return found


@pytest.fixture(scope="module")
def journey(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    folder = tmp_path_factory.mktemp("journey")
    where = place(folder, f"sqlite:///{folder}/store/board.sqlite3")
    save_key(folder / "key.pem", KEY)
    with serving(where, "--limited-suites") as (client, _):
        server = str(client.base_url).rstrip("/")
        ids, workers = {}, []
        for name in KINDS:
            ids[name] = submitted(where, folder, name, models[name], server)
            if len(ids) in (1, len(KINDS)):  # the first one works while others come in, the last one leaves nothing
                workers.append(worker(where))
        try:
            assert [one.wait(300) for one in workers] == [0, 0], (folder / "worker.log").read_text()
        finally:
            for one in workers:
                end(one)
        yield Journey(where, client, folder, ids)


def submitted(where: Place, folder: Path, name: str, model: str, server: str) -> str:
    """Measures a model with the command, sends it, and returns the bundle's id."""
    options = ["--task", KINDS[name].task, "--name", name, "--suite", "mini@1", "--limit", str(LIMIT), "--workers", "1"]
    places = ["--key", str(folder / "key.pem"), "--bundle", str(folder / f"{name}.rab"), "--out", str(folder / "runs")]
    done = command("submit", model, *options, *places, "--to", server, ROBUSTARENA_TOKEN=where.token)
    assert done.exit_code == 0, done.output
    packed_line, *_, sent = done.stdout.strip().splitlines()
    assert sent == f"queued  {server}/submissions/{packed_line.split()[-1]}"
    return packed_line.split()[-1]


def worker(where: Place) -> subprocess.Popen[bytes]:
    """A worker with the real verifier, until nothing waits any more."""
    words = where.command("worker", "--store", str(where.folder), "--once", "--rerun", "1")
    with (where.folder.parent / "worker.log").open("ab") as log:
        return subprocess.Popen(words, cwd=ROOT, env=where.environment, stdout=log, stderr=log)


def rows(client: httpx.Client, **query: str) -> dict[str, dict[str, Any]]:
    """A board's lines by the names of entries."""
    answer = client.get(f"/v1/boards/{SUITE}", params=query)
    return {row["entry"]: row for row in answer.json().get("entries", ())}


@pytest.mark.parametrize("name", KINDS)
def test_check_finds_nothing_wrong(models: dict[str, str], name: str) -> None:
    done = command("check", models[name], "--task", KINDS[name].task)
    assert done.exit_code == 0, done.output
    assert "nothing is wrong" in done.output
    assert "problem" not in done.output
    assert "gradient         reaches every row" in done.output
    for fact in KINDS[name].facts:
        assert fact in done.output


@pytest.mark.parametrize("name", KINDS)
def test_it_is_measured_again_and_on_the_board_of_its_task(journey: Journey, name: str) -> None:
    kind, bundle, client = KINDS[name], journey.ids[name], journey.client
    found = reaches(client, bundle, "accepted")
    assert (found["level"], found["reasons"], found["attempts"]) == ("re-run", [], 1)
    cells = client.get(f"/v1/entries/{bundle}").json()["cells"]
    assert "re-run" in [cell["check"] for cell in cells]
    for cell in cells:  # n/a has no number, and vectors of words are never ranked
        if not cell["detail"].startswith("n/a: ") and "/embeddings-l2" not in cell["label"]:
            assert cell["check"] in ("re-run", "re-scored"), cell
    row = until(lambda: rows(client, task=kind.task).get(name), f"{name} is on the board of {kind.task}")
    assert row is not None
    origin = row["origin"]
    assert (origin["bundle"], origin["level"], origin["submitter"], row["unranked"]) == (bundle, "re-run", "Ada", "")
    assert row["clean"]["examples"] == row["robust"]["examples"] == LIMIT
    assert row["robust"]["quality"] <= row["clean"]["quality"]
    assert row["clean"]["quality"] >= kind.clean
    assert 1 <= row["rank"]["best"] <= row["rank"]["worst"] <= len(rows(client, task=kind.task))
    for page in (f"/boards/{SUITE}/tasks/{kind.task}", f"/boards/{SUITE}/entries/{name}", f"/submissions/{bundle}"):
        answer = client.get(page)
        assert answer.status_code == 200, page
        assert name in answer.text, page
    assert client.get(f"/v1/entries/{bundle}/bundle").content == (journey.folder / f"{name}.rab").read_bytes()
    assert {Path(file).suffix for file in open_bundle(journey.folder / f"{name}.rab").model_files} <= CARRIED


def test_all_are_on_the_board_of_the_suite(journey: Journey) -> None:
    client = journey.client
    found = until(lambda: len(rows(client)) == len(KINDS) and rows(client), "all are on the board") or {}
    each = [rows(client, task=kind.task)[name] for name, kind in KINDS.items()]
    assert [row["origin"]["bundle"] for row in each] == [journey.ids[name] for name in KINDS]
    assert {row["origin"]["level"] for row in found.values()} == {"re-run"}
    assert sum(row["robust"]["quality"] < row["clean"]["quality"] for row in each) >= 3, "attacks come through"
    assert all(row["rank"] is None and "not measured" in row["unranked"] for row in found.values())
    assert set(rows(client, task="speech-digits")) == {"whisper", "ctc"}
    page = client.get(f"/boards/{SUITE}").text
    assert all(name in page for name in KINDS)
    assert all(state(client, bundle)["state"] == "accepted" for bundle in journey.ids.values())


def test_a_plan_that_leaves_a_trial_out_is_refused(journey: Journey, tmp_path: Path) -> None:
    """Rightly hashed and signed by the owner: only who plans the suite himself can see it."""
    bundle = open_bundle(journey.folder / "image.rab")
    extract(bundle, tmp_path / "image")
    files = everything_in(tmp_path / "image")
    cell = next(cell for cell, result in bundle.records.items() if result.cell.attack == "fgsm")
    kept = {name: data for name, data in files.items() if cell not in name}
    assert record_path(cell) not in kept
    (tmp_path / "less.rab").write_bytes(packed(bound(kept, lambda plain: plain["plan"].pop(cell))))
    open_bundle(tmp_path / "less.rab")
    done = command("verify", str(tmp_path / "less.rab"))
    assert done.exit_code == 1
    cells = len(bundle.manifest.plan)
    assert f"the plan is not that of {SUITE} here: 1 of its {cells} cells are missing and 0 are others" in done.output
