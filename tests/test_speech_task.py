"""The task `speech-digits`: what is reported is what a file holds, and the shipped models hear what they should."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from adversarial.attacks.noise import noise
from adversarial.attacks.none import none
from adversarial.attacks.pgd import pgd
from adversarial.errors import NotApplicable
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.threats import Threat
from adversarial.victims import Victim
from tasks.measuring.protocol import GoalName, Measurement, Trial
from tasks.speech.dataset import SAMPLE_RATE, load_split
from tasks.speech.recipes import RECIPES, THREAT
from tasks.speech.task import MODELS, UNTOUCHED_DB, SpeechDigits, make
from tasks.speech.transcripts import decode, word_error_rate, word_errors
from tasks.speech.varying import varied


CPU = torch.device("cpu")


@lru_cache(maxsize=3)
def victim(model: str = "undefended") -> Victim:
    return make().load_victim(MODELS / model, CPU)


@lru_cache(maxsize=8)
def attacked(threat: str = THREAT, goal: GoalName = "worst", model: str = "undefended") -> Measurement:
    trial = Trial(Threat.parse(threat), partial(pgd, steps=5), goal=goal, limit=8, batch_size=5)
    return make().measure(victim(model), trial, Ledger())


def utterances(measured: Measurement) -> list[Tensor]:
    return list(measured.evidence["samples"].split(measured.evidence["lengths"].tolist()))


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
def test_what_is_reported_is_what_a_file_holds(container: str) -> None:
    measured, data, task = attacked(), load_split("test"), make()
    budget = Threat.parse(THREAT).budget
    for row, samples in enumerate(utterances(measured)):
        file = io.BytesIO()
        soundfile.write(file, samples.numpy(), SAMPLE_RATE, format=container, subtype="PCM_16")
        file.seek(0)
        read, rate = soundfile.read(file, dtype="int16")
        assert rate == SAMPLE_RATE
        assert np.array_equal(read, samples.numpy())

        clean = data.samples[row].astype(np.float64)
        assert len(read) == len(clean)
        snr_db = 10 * np.log10(np.square(clean).sum() / np.square(read - clean).sum())
        assert measured.examples.columns["snr_db"][row] == pytest.approx(snr_db, abs=1e-6)
        assert snr_db >= budget - 1e-4

        as_float, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
        (transcript,) = decode(victim()(Inputs(torch.from_numpy(as_float)[None])))
        errors = word_errors(data.transcripts[row], transcript)
        assert measured.examples.values[row] == errors.total
        assert measured.examples.columns["insertions"][row] == errors.insertions
    assert task.metric.quality(measured.metric()) == pytest.approx(1 - min(1, measured.metric()))


def test_measurement_is_in_the_order_of_the_data() -> None:
    measured, data = attacked(), load_split("test")
    assert measured.examples.ids == tuple(data.ids[:8])
    assert measured.evidence["lengths"].tolist() == [len(samples) for samples in data.samples[:8]]
    assert measured.evidence["samples"].dtype == torch.int16
    assert measured.examples.weights == tuple(len(transcript.split()) for transcript in data.transcripts[:8])
    edits = zip(
        *(measured.examples.columns[name] for name in ("substitutions", "insertions", "deletions")), strict=True
    )
    assert tuple(sum(row) for row in edits) == measured.examples.values


def test_batches_are_sorted_by_length() -> None:
    for batch in make().batches("validation", 70, 32, CPU):
        assert batch.inputs.mask is not None
        lengths = batch.inputs.mask.sum(1).tolist()
        assert lengths == sorted(lengths)
        assert lengths[-1] == batch.inputs.values.shape[1]
        assert bool((batch.inputs.values[~batch.inputs.mask] == 0).all())


@pytest.mark.parametrize("model", sorted(RECIPES))
def test_shipped_models_transcribe_unseen_voices(model: str) -> None:
    card = json.loads((MODELS / model / "card.json").read_text(encoding="utf-8"))
    clean = make().measure(victim(model), Trial(None, None), Ledger())
    assert clean.metric() == pytest.approx(card["clean"]["WER"], abs=0.004)  # kernels may turn a word or two
    assert clean.metric() <= (0.05 if model == "undefended" else 0.10)
    assert clean.findings == ()


def test_pgd_raises_the_word_error_rate() -> None:
    clean = make().measure(victim(), Trial(None, None, limit=8), Ledger())
    assert attacked().metric() >= clean.metric() + 0.25
    assert attacked(model="adversarial-training").metric() < attacked().metric()


def test_worst_goes_further_than_flip() -> None:
    first, worst = attacked(goal="flip"), attacked(goal="worst")
    assert worst.metric() >= first.metric()
    wrong = [value > 0 for value in worst.examples.values]
    assert [value > 0 for value in first.examples.values] == wrong


def test_ascending_the_loss_leads_away_from_the_transcript() -> None:
    task, threat = make(), Threat.parse(THREAT)
    (batch,) = task.batches("validation", 4, 4, CPU)
    space, goal = task.space(victim(), batch, threat), task.goal(batch, "worst")
    problem = Problem(victim(), space, goal, threat, Keys.of(0, batch.ids))
    before = problem.gradient(space.null())
    step = 0.1 * space.radius[:, None] * space.steepest(before.values)  # type: ignore[attr-defined]
    assert bool((problem.evaluate(step).loss > before.loss).all())
    assert batch.inputs.mask is not None
    assert bool((before.values[~batch.inputs.mask] == 0).all())


@pytest.mark.parametrize("attack", [noise, partial(pgd, steps=2)])
def test_padding_is_never_touched(attack: Callable[[Problem], None]) -> None:
    task, threat = make(), Threat.parse(THREAT)
    (batch,) = task.batches("validation", 6, 6, CPU)
    space = task.space(victim(), batch, threat)
    problem = Problem(victim(), space, task.goal(batch, "worst"), threat, Keys.of(0, batch.ids))
    attack(problem)
    disturbed = space.apply(problem.best.d)
    assert batch.inputs.mask is not None
    assert bool((disturbed.values[~batch.inputs.mask] == 0).all())
    assert bool((disturbed.values != batch.inputs.values).any(1).all())
    assert torch.equal(disturbed.values * 32_768, (disturbed.values * 32_768).round())


def test_other_norms_and_surfaces() -> None:
    linf = attacked("waveform-linf:0.002@gradient")
    assert "snr_db" not in linf.examples.columns
    assert 0 < max(linf.examples.distances) <= 0.002
    with pytest.raises(NotApplicable, match="waveforms"):
        attacked("pixels-linf:0.1@gradient")


def test_an_untouched_utterance_has_a_finite_ratio() -> None:
    measured = make().measure(victim(), Trial(Threat.parse(THREAT), none, limit=2), Ledger())
    assert measured.examples.columns["snr_db"] == (UNTOUCHED_DB, UNTOUCHED_DB)


def test_training_data_varies_and_repeats() -> None:
    task, recipe = SpeechDigits(), RECIPES["undefended"]
    first, again, other = (next(iter(task.training_batches(recipe, epoch))) for epoch in (3, 3, 4))
    assert first.ids == again.ids
    assert first.inputs.same_as(again.inputs)
    assert first.ids != other.ids
    samples = load_split("train").samples[0]
    draw = np.random.default_rng(0)
    faster = varied(samples, draw, {"tempo": (1.25, 1.25)})
    assert len(faster) == pytest.approx(len(samples) / 1.25, abs=2)
    assert np.abs(varied(samples, draw, {"gain_db": (60.0, 60.0)})).max() == 32_767
    assert np.array_equal(varied(samples, draw, {}), samples)


def test_every_training_transcript_fits_its_frames() -> None:
    """With a blank between equal letters; at the fastest tempo that training makes."""
    data, recipe = load_split("train"), RECIPES["undefended"]
    tempo = recipe.options["tempo"][1]
    for samples, transcript in zip(data.samples, data.transcripts, strict=True):
        frames = (1 + (int(len(samples) / tempo) - 200) // 80) // 2
        assert frames >= len(transcript) + sum(a == b for a, b in itertools.pairwise(transcript))


def test_word_error_rate_of_the_measurement() -> None:
    """The metric is the corpus WER, not the mean of the rows' rates."""
    task, data = make(), load_split("validation")
    (batch,) = task.batches("validation", 12, 12, CPU)
    hypotheses = decode(victim()(batch.inputs))
    references = [data.transcripts[position] for position in batch.positions]
    measured = task.measure(victim(), Trial(None, None, split="validation", limit=12), Ledger())
    assert measured.metric() == pytest.approx(word_error_rate(references, hypotheses))
