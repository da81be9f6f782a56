"""Reviews of a user's own: candidates, records and pages are of these data alone, whatever was loaded before."""

from __future__ import annotations

import json
import re
from pathlib import Path

import hf_models
import msgspec
import pytest
import torch
import transformers
from click.testing import CliRunner, Result
from model_sources import load_model
from own_sources import TEXT, named_on, prepared, reviews, write_rows

from adversarial.threats import Threat
from benchmarks.catalog import catalog
from benchmarks.cli.main import cli
from benchmarks.running.cells import ModelRef, PlannedCell
from benchmarks.running.measuring import measure
from benchmarks.running.planning import Settings, plan_cells
from benchmarks.running.workplace import Workplace
from benchmarks.suites.suite import suite_named
from leaderboard.bundle.signing import generate_key, save_key
from leaderboard.records.run_folder import RunFolder
from tasks.data import CustomData
from tasks.data.making import task_of
from tasks.sentiment.candidates import candidates, misspellings
from tasks.sentiment.custom_data import load
from tasks.sentiment.custom_words import CustomWords
from tasks.sentiment.dataset import LABELS
from tasks.sentiment.hf import TextVictim
from tasks.sentiment.words import bundled


pytestmark = [
    pytest.mark.usefixtures("datasets_cache"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
CPU = torch.device("cpu")
LONG = "honorificabilitudinitatibus"


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def data_with(tmp_path: Path, name: str, *texts: str) -> CustomData:
    rows = [*reviews(), *({"text": text, "label": number % 2} for number, text in enumerate(texts))]
    return prepared(write_rows(tmp_path / f"{name}.csv", rows), TEXT, tmp_path / "data")


def test_no_misspelling_is_a_word_of_the_data(tmp_path: Path) -> None:
    slip = misspellings("gripping")[0]
    plain, own = data_with(tmp_path, "plain"), data_with(tmp_path, "own", f"a {slip} of ours", f"the {slip} again")
    assert slip in CustomWords(plain).candidates("gripping")
    words = CustomWords(own)
    assert slip in words.known
    assert words.candidates("gripping") == tuple(word for word in candidates("gripping") if word != slip)
    for word in words.known:
        assert not set(words.candidates(word)) & set(misspellings(word)) & words.known, word
    batches = list(task_of(catalog().task(TEXT), own).batches("test", None, 64, CPU))  # type: ignore[attr-defined]
    space_of = task_of(catalog().task(TEXT), own).space  # type: ignore[attr-defined]
    table = space_of(None, batches[0], Threat.parse("words-l0:3@gradient")).candidates()
    offered = {bundled().word(number) for number in table[:, :, 1:].unique().tolist() if number >= 0}
    assert offered
    assert slip not in offered


def cells_on(data: CustomData, model: ModelRef) -> dict[str, PlannedCell]:
    planned = plan_cells(
        suite_named(catalog(), "mini@1"), catalog(), Settings(limit=6, data=data), models={TEXT: (model,)}
    )
    return {cell.cell.label: cell for cell in planned}


@pytest.mark.slow
def test_records_are_the_same_whatever_was_read_before(tmp_path: Path) -> None:
    hf_models.save_text(tmp_path / "reader")
    data, source = data_with(tmp_path, "mine"), f"hf:{tmp_path / 'reader'}"
    places = ["--out", tmp_path / "runs", "--bundle", tmp_path / "mine.rab", "--workers", "1", "--limit", 6]
    key = ["--key", tmp_path / "key.pem"]
    save_key(tmp_path / "key.pem", generate_key())
    named = ["--task", TEXT, "--name", "mine", "--suite", "mini@1", "--data", data.folder]
    done = invoke("submit", source, *named, *places, *key)  # in a process of its own, which reads nothing else
    assert done.exit_code == 0, done.output
    other = data_with(tmp_path, "other", f"{LONG} and zyzzyva {LONG}", "qwertyuiop asdfghjkl")
    model = ModelRef("mine", load_model(source, TEXT, other).hash, "none", source=source)
    list(task_of(catalog().task(TEXT), other).batches("test", None, 64, CPU))  # type: ignore[attr-defined]
    assert bundled().intern(LONG) < len(bundled())
    records = RunFolder(tmp_path / "runs")
    for label, cell in cells_on(data, model).items():
        again = measure(cell, Workplace.of(data=data, sources={(TEXT, "mine"): source}))
        record = records.read_result(cell.id)
        assert record is not None
        assert again.result == msgspec.structs.replace(record, artifacts={}), label
        assert bool(again.evidence) == bool(record.artifacts)
        if again.evidence:
            assert again.evidence == records.artifact_path(cell.id).read_bytes(), label
    verdict = json.loads(invoke("verify", tmp_path / "mine.rab", "--data", data.folder, "--rerun", 2, "--json").stdout)
    assert verdict["level"] == "re-run", verdict


def test_a_reader_has_room_for_the_pieces_of_the_data(tmp_path: Path) -> None:
    module = hf_models.save_text(tmp_path / "reader")
    data = data_with(tmp_path, "long", f"{LONG} is good", f"{LONG} is bad", f"no {LONG}", f"a {LONG}")
    found = load_model(f"hf:{tmp_path / 'reader'}", TEXT, data)
    victim = found.victim
    assert isinstance(victim, TextVictim)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "reader")
    assert victim.pieces.most >= len(tokenizer(LONG, add_special_tokens=False).input_ids) > 12
    (batch,) = task_of(catalog().task(TEXT), data).batches("test", None, 64, CPU)  # type: ignore[attr-defined]
    assert any(LONG in bundled().decode(batch.inputs.alone(row).values[0]) for row in range(len(batch.ids)))
    for row in range(len(batch.ids)):
        single = batch.inputs.alone(row)
        tokens = tokenizer(bundled().decode(single.values[0]), return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            assert torch.allclose(victim(single).values[0], module(**tokens).logits[0], atol=1e-4)


def test_reference_models_read_own_reviews_and_a_site_shows_them(tmp_path: Path) -> None:
    source, out = write_rows(tmp_path / "mine.csv", reviews()), tmp_path / "runs"
    chosen = ["--task", TEXT, "--model", "undefended", "--limit", 12, "--executor", "serial", "--out", out]
    done = invoke("run", "mini@1", *chosen, "--data", source)
    assert done.exit_code == 0, done.output
    data = prepared(source, TEXT, out / "data")
    folder = RunFolder(out)
    (suite,) = folder.plans()
    assert suite == f"mini@1-{data.suffix}-limit12"
    results = {one.cell.label: one for one in folder.results(folder.read_plan(suite)).values()}
    assert all("group_style" not in one.examples.columns for one in results.values() if one.examples is not None)
    (clean,) = (one for one in results.values() if one.cell.attack == "none")
    assert clean.examples is not None
    assert clean.examples.ids == tuple(data.ids("test")[:12])
    assert sum(clean.examples.values) >= 8
    assert invoke("site", tmp_path / "site", "--out", out).exit_code == 0
    (page,) = (tmp_path / "site" / "entries").glob("undefended*.html")
    labels = dict(zip(data.ids("test"), load(data, "test").labels, strict=True))
    named = named_on(page)
    assert named
    assert all(LABELS[labels[example]] == name for example, name in named.items())
    assert "on day" in re.sub("<[^>]*>", "", page.read_text(encoding="utf-8"))
