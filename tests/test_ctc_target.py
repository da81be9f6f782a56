"""The search for a given transcript, on the shipped transcriber."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from adversarial.attacks.ctc_target import ctc_target
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.inputs import Scores
from adversarial.ledger import Ledger
from adversarial.threats import Threat
from leaderboard.records.record import NEAREST
from tasks.measuring.protocol import Trial
from tasks.speech import goal as goals
from tasks.speech import task as speech
from tasks.speech.dataset import WORDS
from tasks.speech.goal import TargetTranscript
from tasks.speech.transcripts import ALPHABET


THREAT = Threat.parse("waveform-snr:22@gradient")
FOLDER = Path(speech.__file__).parent / "models" / "undefended"


def frames(*texts: str, repeat: int = 1) -> Scores:
    """Scores whose best path spells the texts, each letter `repeat` frames long with a blank after it."""
    longest = max(len(text) for text in texts) * (repeat + 1)
    values = torch.zeros(len(texts), longest, len(ALPHABET))
    values[:, :, 0] = 1
    for row, text in enumerate(texts):
        for place, letter in enumerate(text):
            at = place * (repeat + 1)
            values[row, at : at + repeat, ALPHABET.index(letter)] = 5
    return Scores(values)


def test_a_target_is_another_string_of_as_many_digits_and_always_the_same() -> None:
    for utterance in ("a", "b", "c"):
        target = speech.target_of(utterance, "one two two")
        assert target == speech.target_of(utterance, "one two two")
        assert all(a != b and a in WORDS for a, b in zip(target.split(), ["one", "two", "two"], strict=True))
    assert len({speech.target_of(str(i), "one two two") for i in range(20)}) > 10


def test_success_is_the_transcript_and_only_paths_that_collapse_to_it_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    decode = goals.decode

    def counted(scores: Scores) -> list[str]:
        read.append(len(scores))
        return decode(scores)

    monkeypatch.setattr(goals, "decode", counted)
    goal = TargetTranscript.of(["two", "two", "two", "two"], ["one", "nine", "one", "one"])
    verdict = goal.judge(frames("one", "one", "on", "two", repeat=3))
    assert verdict.success.tolist() == [True, False, False, False]
    assert read == [1]
    assert torch.equal(verdict.success, verdict.done)
    broken = frames("one", "one", "one", "one")
    broken.values[0, 0, 0] = torch.nan
    assert goal.judge(broken).success.tolist() == [False, False, True, True]
    assert goal.take(torch.tensor([1, 0])).judge(frames("nine", "one")).success.tolist() == [True, True]


def test_spaces_count_as_in_a_transcript_that_is_read() -> None:
    goal = TargetTranscript.of(["two two"] * 3, ["one  nine ", "one nine", "one nine"])
    verdict = goal.judge(frames("one nine", " one  nine", "onenine"))
    assert verdict.success.tolist() == [True, True, False]


def test_a_target_that_is_the_transcript_is_refused() -> None:
    with pytest.raises(InvalidOption, match="row 1"):
        TargetTranscript.of(["one", "two"], ["two", "two"])


def test_most_utterances_can_be_made_to_say_it_and_the_nearest_success_counts() -> None:
    task = speech.SpeechDigits()
    victim = task.load_victim(FOLDER, torch.device("cpu"))
    ledger = Ledger()
    trial = Trial(
        THREAT, partial(ctc_target, steps=80), goal="target", limit=4, minimum_norm=True, curve=(0.25, 0.5, 2.0)
    )
    found = task.measure(victim, trial, ledger)
    distances = found.examples.columns[NEAREST]
    assert ledger.backwards == 4 * 80
    assert sum(distance > 0 for distance in distances) >= 3
    reached = [float(0 < distance <= THREAT.radius) for distance in distances]
    assert list(found.examples.columns["reached_target"]) == reached
    clean = task.measure(victim, Trial(None, None, limit=4), Ledger())
    errors = found.examples.columns["budget_x2"]
    for row, distance in enumerate(distances):
        if not 0 < distance <= 2 * THREAT.radius:
            assert errors[row] == clean.examples.values[row]  # robust rows keep their own transcript
        else:
            assert errors[row] > 0


def test_other_goals_and_bad_options_are_refused() -> None:
    task = speech.SpeechDigits()
    victim = task.load_victim(FOLDER, torch.device("cpu"))
    with pytest.raises(NotApplicable, match="target"):
        task.measure(victim, Trial(THREAT, ctc_target, goal="worst", limit=1), Ledger())
    for options in ({"steps": 0}, {"shrink": 1.0}, {"start_size": 0.0}):
        with pytest.raises(InvalidOption):
            task.measure(victim, Trial(THREAT, partial(ctc_target, **options), goal="target", limit=1), Ledger())  # type: ignore[arg-type]
