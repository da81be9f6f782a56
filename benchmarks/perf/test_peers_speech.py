"""PGD on speech, batched, against asr-attacks, which takes one utterance at a time. `make perf` runs this.

Both attack the bundled undefended model of `speech-digits`, with the same budget, steps and random start, on the same
utterances of mixed length, away from the same reference transcripts.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import pytest
import torch
from torch import Tensor, nn

from adversarial.attacks.pgd import pgd
from adversarial.inputs import Scores
from adversarial.ledger import Ledger
from adversarial.threats import Threat
from benchmarks.perf import judging, peers
from benchmarks.perf.timing import OURS, fastest_size, note, race
from tasks.measuring.protocol import GoalName, Measurement, Trial
from tasks.speech.model import SpeechVictim
from tasks.speech.task import MODELS, SpeechDigits
from tasks.speech.transcripts import ALPHABET, BLANK, SYMBOLS, decode, word_errors


pytestmark = [
    pytest.mark.skipif(not peers.installed("asr_attacks"), reason=peers.ABSENT),
    judging.peer_warnings,
]

UTTERANCES, STEPS = 32, 50
PEER: Final = "asr-attacks"


class Alone(nn.Module):
    """The model as asr-attacks calls it: one utterance without a mask, logits out."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, samples: Tensor) -> Tensor:
        logits: Tensor = self.module(samples, torch.ones_like(samples, dtype=torch.bool))[0]
        return logits


def utterances(task: SpeechDigits) -> list[tuple[Tensor, str]]:
    """Samples, float32 [samples], and the transcript of each, in the order of the data."""
    found = {}
    for batch in task.batches("test", UTTERANCES, 1, torch.device("cpu")):
        found[batch.positions[0]] = batch.inputs.values[0], str(batch.truth[0])
    return [found[position] for position in sorted(found)]


def theirs(attacker: Any, data: list[tuple[Tensor, str]], budget: float, early_stop: bool) -> list[Tensor]:
    with peers.seeded():
        return [
            torch.from_numpy(
                attacker.pgd(samples, epsilon=budget, num_iter=STEPS, label=reference, early_stop=early_stop)
            )
            for samples, reference in data
        ]


def errors(module: nn.Module, data: list[tuple[Tensor, str]], found: list[Tensor]) -> tuple[float, float]:
    """The word error rate, and the share of utterances with an error."""
    counts = [
        word_errors(reference, decode(Scores(Alone(module)(samples.reshape(1, -1))))[0]).total
        for (_, reference), samples in zip(data, found, strict=True)
    ]
    words = sum(len(reference.split()) for _, reference in data)
    return sum(counts) / words, sum(count > 0 for count in counts) / len(counts)


@pytest.mark.parametrize(("budget", "first_error"), [(0.001, False), (0.001, True)], ids=["most-errors", "first-error"])
def test_pgd_speech(benchmark: Any, budget: float, first_error: bool) -> None:
    """With the goal `worst` ours goes on until every word is wrong, and asr-attacks for all of its steps; with `flip`
    both stop at the first wrong word."""
    task = SpeechDigits()
    victim = task.load_victim(MODELS / "undefended", torch.device("cpu"))
    assert isinstance(victim, SpeechVictim)
    library, data = peers.library("asr_attacks"), utterances(task)
    backend = library.CTCModuleBackend(
        Alone(victim.module), labels=list(ALPHABET[:SYMBOLS]), device="cpu", blank_id=BLANK
    )
    attacker = library.ASRAttacker(backend, verbose=False)
    threat = Threat("waveform", "linf", budget)
    bound = partial(pgd, steps=STEPS, relative_step=2.5 / STEPS)

    goal: GoalName = "flip" if first_error else "worst"

    def ours(size: int) -> Measurement:
        return task.measure(victim, Trial(threat, bound, goal=goal, limit=UTTERANCES, batch_size=size), Ledger())

    chosen = fastest_size(ours, (4, 8, 16, 32))
    found = race(benchmark, partial(ours, chosen), {PEER: partial(theirs, attacker, data, budget, first_error)})
    result = found.results[OURS]
    with torch.no_grad():
        rate, share = errors(victim.module, data, found.results[PEER])
        clean, _ = errors(victim.module, data, [samples for samples, _ in data])
    share_of_ours = sum(value > 0 for value in result.values) / UTTERANCES
    facts = {
        "word error rate": {OURS: result.metric(), PEER: rate},
        "utterances with an error": {OURS: share_of_ours, PEER: share},
    }
    assert all(length <= budget * (1 + judging.TOLERANCE) for length in result.distances)
    note(
        benchmark,
        found,
        (PEER,),
        judging.rounded(facts),
        setting=f"PGD-50, linf {budget}, {UTTERANCES} utterances, CTC model, until "
        + ("the first error" if first_error else "every word is wrong"),
        sizes={OURS: chosen, PEER: 1},
        clean=round(clean, 4),
    )
    assert share_of_ours >= share
    if not first_error:
        assert result.metric() >= rate
