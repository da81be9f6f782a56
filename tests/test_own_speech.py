"""Recordings of a user's own: models hear them at their own rate, and targets are made of their own words."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import speech_models
import torch
import transformers
from click.testing import CliRunner, Result
from model_sources import load_model
from own_sources import SAID, SPEECH, named_on, prepared, write_rows, write_sounds

from adversarial.attacks.ctc_target import ctc_target
from adversarial.errors import ModelError
from adversarial.ledger import Ledger
from adversarial.threats import Threat
from benchmarks.catalog import catalog
from benchmarks.cli.main import cli
from leaderboard.bundle.signing import generate_key, save_key
from leaderboard.records.run_folder import RunFolder
from tasks.data import CustomData
from tasks.data.making import task_of
from tasks.measuring.protocol import Trial
from tasks.speech import custom_data as utterances
from tasks.speech.goal import TargetTranscript
from tasks.speech.hf_ctc import CTCVictim
from tasks.speech.task import SpeechDigits
from tasks.speech.transcripts import ALPHABET, decode


pytestmark = [
    pytest.mark.usefixtures("datasets_cache"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
CPU = torch.device("cpu")
WORDS = sorted({word for text in SAID for word in text.split()})


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def task_on(data: CustomData) -> SpeechDigits:
    task = task_of(catalog().task(SPEECH), data)
    assert isinstance(task, SpeechDigits)
    return task


@pytest.fixture
def data(tmp_path: Path) -> CustomData:
    return prepared(write_sounds(tmp_path / "sounds"), SPEECH, tmp_path / "data")


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_a_model_of_the_same_rate_hears_the_samples_as_they_are(
    norm: str, data: CustomData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never() -> None:
        raise AssertionError("resampled")

    monkeypatch.setattr("tasks.speech.preprocessing.torchaudio_functional", never)
    module = speech_models.save_ctc(tmp_path / "ctc", norm=norm)
    victim = load_model(f"hf:{tmp_path / 'ctc'}", SPEECH, data).victim
    assert isinstance(victim, CTCVictim)
    (batch,) = task_on(data).batches("test", 5, 5, CPU)
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path / "ctc")
    tokenizer = transformers.Wav2Vec2CTCTokenizer.from_pretrained(tmp_path / "ctc")
    heard = decode(victim(batch.inputs))
    for row, text in enumerate(heard):
        samples = batch.inputs.alone(row).values[0].numpy()
        features = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
        with torch.no_grad():
            logits = module(features).logits
        ours = victim(batch.inputs.alone(row)).values[0]
        for letter in "jazz":
            place = tokenizer.convert_tokens_to_ids(letter.upper())
            assert torch.allclose(ours[:, ALPHABET.index(letter)], logits[0, :, place], atol=1e-4)
        plain = " ".join(tokenizer.decode(logits[0].argmax(-1)).lower().replace("'", "").split())
        assert text == plain.replace("<s>", "?").replace("</s>", "?").replace("<unk>", "?")


def test_another_rate_is_reached_by_resampling(data: CustomData, tmp_path: Path) -> None:
    speech_models.save_ctc(tmp_path / "ctc")
    slow = prepared(tmp_path / "sounds", SPEECH, tmp_path / "data", rate=8_000)
    source = f"hf:{tmp_path / 'ctc'}"
    fast_victim, slow_victim = (load_model(source, SPEECH, one).victim for one in (data, slow))
    (fast_batch,), (slow_batch,) = (list(task_on(one).batches("test", 3, 3, CPU)) for one in (data, slow))
    assert fast_batch.ids == slow_batch.ids
    one, other = fast_victim(fast_batch.inputs).values, slow_victim(slow_batch.inputs).values
    assert one.shape == other.shape
    assert not torch.equal(one, other)
    assert torch.allclose(one, other, atol=0.3)


def test_a_model_must_be_able_to_write_what_is_said(data: CustomData, tmp_path: Path) -> None:
    letters = [letter for letter in speech_models.LETTERS if letter not in "JZ"]
    speech_models.save_ctc(tmp_path / "ctc", letters=letters)
    with pytest.raises(ModelError, match="vocabulary lacks 'j', 'z'"):
        load_model(f"hf:{tmp_path / 'ctc'}", SPEECH, data)
    with pytest.raises(ModelError, match=r"hear digits at 8 kHz, and these data are 16000 Hz or other words"):
        load_model(f"{SPEECH}/undefended", SPEECH, data)


def test_targets_are_made_of_the_words_of_the_data(data: CustomData, tmp_path: Path) -> None:
    speech_models.save_ctc(tmp_path / "ctc")
    task = task_on(data)
    (batch,) = task.batches("test", None, 64, CPU)
    goal = task.goal(batch, "target")
    assert isinstance(goal, TargetTranscript)
    for wanted, said in zip(goal.targets, batch.truth, strict=True):
        assert set(wanted.split()) <= set(WORDS)
        assert len(wanted.split()) == len(str(said).split())
        assert all(new != old for new, old in zip(wanted.split(), str(said).split(), strict=True))
    victim = load_model(f"hf:{tmp_path / 'ctc'}", SPEECH, data).victim
    trial = Trial(Threat.parse("waveform-snr:28@gradient"), partial(ctc_target, steps=2), goal="target", limit=4)
    measured = task.measure(victim, trial, Ledger())
    assert len(measured.examples.values) == 4
    assert not [finding for finding in measured.findings if finding.severity == "invalid"]


@pytest.mark.slow
def test_from_recordings_to_a_verdict_and_a_page(data: CustomData, tmp_path: Path) -> None:
    speech_models.save_ctc(tmp_path / "ctc")
    save_key(tmp_path / "key.pem", generate_key())
    model, out = f"hf:{tmp_path / 'ctc'}", tmp_path / "runs"
    report = json.loads(invoke("check", model, "--task", SPEECH, "--data", data.folder, "--json").stdout)
    assert report["ok"], report
    named = ["--task", SPEECH, "--name", "mine", "--suite", "mini@1", "--limit", 4, "--workers", 1]
    places = ["--key", tmp_path / "key.pem", "--bundle", tmp_path / "mine.rab", "--out", out]
    done = invoke("submit", model, *named, *places, "--data", tmp_path / "sounds")
    assert done.exit_code == 0, done.output
    done = invoke("verify", tmp_path / "mine.rab", "--data", data.folder, "--rerun", 1, "--json")
    assert json.loads(done.stdout)["level"] == "re-run", done.stdout


def test_reference_models_hear_digits_and_a_site_names_what_was_said(tmp_path: Path) -> None:
    folder, out = write_sounds(tmp_path / "sounds", rate_hz=8_000), tmp_path / "runs"
    rows = [{"file_name": f"{number:02}.wav", "text": f"{number % 10} 7"} for number in range(12)]
    write_rows(folder / "metadata.csv", rows)
    chosen = ["--task", SPEECH, "--model", "undefended", "--limit", 3, "--executor", "serial", "--out", out]
    done = invoke("run", "mini@1", *chosen, "--attack", "no*", "--data", folder)
    assert done.exit_code == 0, done.output
    data = prepared(folder, SPEECH, out / "data")
    assert data.manifest.reference_models
    (suite,) = RunFolder(out).plans()
    assert suite == f"mini@1-{data.suffix}-limit3"
    assert invoke("site", tmp_path / "site", "--out", out).exit_code == 0
    (page,) = (tmp_path / "site" / "entries").glob("undefended*.html")
    said = dict(zip(data.ids("test"), utterances.load(data, "test").transcripts, strict=True))
    named = named_on(page)
    assert named
    assert all(said[example] == name and name.endswith(" seven") for example, name in named.items())
