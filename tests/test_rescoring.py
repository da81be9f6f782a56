"""Stored adversarial examples say by themselves what they do: one forward each, and no attack."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import pytest
import torch

from adversarial.attacks.hotflip import hotflip
from adversarial.attacks.pgd import pgd
from adversarial.errors import DataError, NotApplicable
from adversarial.ledger import Ledger
from adversarial.registry import resolve
from adversarial.threats import Threat
from adversarial.victims import Victim
from benchmarks.catalog import catalog
from benchmarks.suites.mini_1 import SUITE as MINI_1
from tasks.measuring.protocol import Measurement, Task, Trial


ATTACKS = {
    "image-digits": partial(pgd, steps=5),
    "speech-digits": partial(pgd, steps=3),
    "sentiment-reviews": partial(hotflip, steps=3),
    "control-cartpole": partial(pgd, steps=3),
}
LIMIT = 7


@lru_cache(maxsize=4)
def attacked(name: str) -> tuple[Task, Victim, Trial, Measurement]:
    entry = catalog().task(name)
    task: Task = resolve(entry.code)()
    victim = task.load_victim(Path(entry.folder) / "undefended", torch.device("cpu"))
    goal = "worst" if name == "speech-digits" else "flip"
    threat = Threat.parse(MINI_1.ranking_threats[name])
    trial = Trial(threat, ATTACKS[name], goal=goal, limit=LIMIT, batch_size=5, curve=(0.5,))  # type: ignore[arg-type]
    return task, victim, trial, task.measure(victim, trial, Ledger())


@pytest.mark.parametrize("name", ATTACKS)
def test_stored_examples_do_what_the_record_says(name: str) -> None:
    task, victim, trial, measured = attacked(name)
    found = task.rescore(victim, trial, measured.evidence)
    assert found.ids == measured.examples.ids
    assert found.values == measured.examples.values
    assert not any(found.over)
    assert found.distances == pytest.approx(measured.examples.distances, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", ATTACKS)
def test_beyond_the_budget_is_seen(name: str) -> None:
    task, victim, trial, measured = attacked(name)
    assert trial.threat is not None
    smaller = Trial(trial.threat.scaled(0.3), trial.attack, goal=trial.goal, limit=LIMIT, batch_size=5)
    found = task.rescore(victim, smaller, measured.evidence)
    for over, distance, value in zip(found.over, measured.examples.distances, found.values, strict=True):
        assert over == (distance > smaller.threat.radius * (1 + 1e-4)) or name == "sentiment-reviews", value  # type: ignore[union-attr]
    assert any(found.over)


def test_a_pixel_out_of_range_and_padding_that_changed_are_beyond_the_budget() -> None:
    task, victim, trial, measured = attacked("image-digits")
    images = measured.evidence["images"].clone()
    images[3, 0, 0, 0] = -0.01
    images[5, 0, 2, 2] = torch.nan
    found = task.rescore(victim, trial, {"images": images})
    assert [row for row, over in enumerate(found.over) if over] == [3, 5]


def test_an_utterance_of_another_length_is_beyond_the_budget() -> None:
    task, victim, trial, measured = attacked("speech-digits")
    lengths = measured.evidence["lengths"].clone()
    lengths[0] += 1
    lengths[1] -= 1
    found = task.rescore(victim, trial, {**measured.evidence, "lengths": lengths})
    assert found.over[0]
    assert found.over[1]
    assert not any(found.over[2:])


def test_words_that_are_no_candidates_are_beyond_the_budget() -> None:
    task, victim, trial, measured = attacked("sentiment-reviews")
    text = measured.evidence["text"].clone()
    text[0] = ord("q")
    assert task.rescore(victim, trial, {**measured.evidence, "text": text}).over[0]
    text[0] = 0xFF
    with pytest.raises(DataError, match="UTF-8"):
        task.rescore(victim, trial, {**measured.evidence, "text": text})


def test_an_episode_is_replayed() -> None:
    task, victim, trial, measured = attacked("control-cartpole")
    wrong = measured.evidence["actions"].clone()
    wrong[2, 4] = 1 - wrong[2, 4]
    found = task.rescore(victim, trial, {**measured.evidence, "actions": wrong})
    assert [row for row, over in enumerate(found.over) if over] == [4]
    short = {name: tensor[:5] for name, tensor in measured.evidence.items()}
    assert all(task.rescore(victim, trial, short).over)


@pytest.mark.parametrize("name", ATTACKS)
def test_evidence_of_other_examples_is_refused(name: str) -> None:
    task, victim, trial, measured = attacked(name)
    fewer = Trial(trial.threat, trial.attack, goal=trial.goal, limit=LIMIT - 2, batch_size=5)
    more = Trial(trial.threat, trial.attack, goal=trial.goal, limit=LIMIT + 2, batch_size=5)
    for other in (fewer, more):
        with pytest.raises(DataError):
            task.rescore(victim, other, measured.evidence)
    with pytest.raises(DataError, match="the evidence has none"):
        task.rescore(victim, trial, {})
    with pytest.raises(DataError, match="must be"):
        task.rescore(victim, trial, {key: tensor.to(torch.float64) for key, tensor in measured.evidence.items()})


def test_word_vectors_are_not_judged_again() -> None:
    task, victim, trial, _ = attacked("sentiment-reviews")
    vectors = {"vectors": torch.zeros(3, 4), "lengths": torch.tensor([1, 2])}
    with pytest.raises(NotApplicable, match="half precision"):
        task.rescore(victim, replace(trial, threat=Threat.parse("embeddings-l2:1")), vectors)
    with pytest.raises(DataError, match="expected the tensors"):
        task.rescore(victim, trial, vectors)
