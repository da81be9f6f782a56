"""The task `speech-digits`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor, nn

from adversarial.errors import ModelError, NotApplicable
from adversarial.goals import Goal
from adversarial.inputs import Inputs, Scores
from adversarial.keys import stable_hash
from adversarial.ledger import Ledger
from adversarial.spaces import Space, snr_db, waveform
from adversarial.threats import Threat
from adversarial.victims import Victim
from leaderboard.records.metric import Metric
from tasks.data import CustomData
from tasks.measuring.batches import Batch, Outcomes, first_examples
from tasks.measuring.protocol import Defense, GoalName, Measurement, ModelInterface, Rescored, Trial
from tasks.measuring.rescoring import cut, rescore_static, tensor_of
from tasks.measuring.static import measure_static
from tasks.measuring.training import train_static, write_model
from tasks.models.architectures import build
from tasks.models.cards import read_card
from tasks.models.recipes import Recipe
from tasks.models.weights import load_weights
from tasks.speech import custom_data as utterances
from tasks.speech.dataset import SAMPLE_RATE, WORDS, Samples, Utterances, data_hash, load_split
from tasks.speech.goal import TargetTranscript, WorstTranscript
from tasks.speech.model import ARCHITECTURES, SpeechVictim
from tasks.speech.recipes import RECIPES
from tasks.speech.transcripts import SYMBOLS, decode, word_errors
from tasks.speech.varying import varied


MODELS: Final = Path(__file__).parent / "models"
FULL_SCALE: Final = 32_768.0
# The snr_db of an untouched utterance, whose ratio is infinite and so has no place in JSON. One sample off by
# one step in an hour at full scale is at 165 dB.
UNTOUCHED_DB: Final = 200.0
POOL: Final = 8  # training batches whose rows are sorted by length together


class SpeechDigits:
    """Strings of 2 to 5 spoken digits at 8 kHz, by voices that training never heard; word error rate.

    An attack's usual goal is `worst`: a row is done when it has as many word errors as words. data: other utterances,
    by split; words: that are said in them; rate_hz: of their samples; digits: whether they are such as the registered
    architectures hear.
    """

    name = "speech-digits"
    metric = Metric("WER", floor=1.0, ceiling=0.0)
    recipes: Mapping[str, Recipe] = RECIPES

    def __init__(
        self,
        data: Callable[[str], Utterances] | None = None,
        words: Sequence[str] = WORDS,
        rate_hz: int = SAMPLE_RATE,
        *,
        digits: bool = True,
    ) -> None:
        self._data, self._words = data or _split, tuple(words)
        self._rate_hz, self._digits = rate_hz, digits

    @property
    def interface(self) -> ModelInterface:
        return ModelInterface(
            f"samples at {_in_hz(self._rate_hz)}, float32 [batch, samples] in [-1, 1), and their mask, bool "
            "[batch, samples]",
            "logits [batch, frames, symbols] in the order of tasks.speech.transcripts.ALPHABET, and their mask, bool "
            "[batch, frames]",
        )

    def load_victim(self, folder: Path, device: torch.device) -> Victim:
        if not self._digits:
            raise ModelError(
                f"{folder}: the architectures of {self.name} hear digits at {_in_hz(SAMPLE_RATE)}, and these data are "
                f"{self._rate_hz} Hz or other words; bring the model as hf: or python:"
            )
        return self.wrap(build(ARCHITECTURES, folder, read_card(folder)).to(device))

    def wrap(self, module: nn.Module) -> Victim:
        return SpeechVictim(module)

    def sample(self, count: int, device: torch.device) -> tuple[Inputs, Goal]:
        return first_examples(self, count, device)

    def fault(self, scores: Scores, inputs: Inputs, others: int) -> str:  # noqa: ARG002
        values, mask = scores.values, scores.mask
        if scores.reader is not None:  # it writes the transcripts itself
            return ""
        if values.ndim != 3 or values.shape[2] < SYMBOLS:
            return f"scores have the shape {list(values.shape)}, expected at least {SYMBOLS} symbols a frame"
        if mask is None or mask.shape != values.shape[:2] or mask.dtype != torch.bool:
            return "scores need a mask of real frames, bool [batch, frames]"
        return ""

    def measure(self, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
        return measure_static(self, victim, trial, ledger)

    def batches(self, split: str, limit: int | None, batch_size: int, device: torch.device) -> Iterator[Batch]:
        data = self._data(split)
        order = sorted(range(len(data))[:limit], key=lambda i: len(data.samples[i]))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            yield _batch(data, chosen, [data.samples[i] for i in chosen], device)

    def space(self, victim: Victim, batch: Batch, threat: Threat) -> Space:  # noqa: ARG002
        if threat.surface != "waveform":
            raise NotApplicable(f"speech-digits offers waveforms, not {threat.surface}")
        return waveform(batch.inputs, threat)

    def goal(self, batch: Batch, goal: GoalName) -> Goal:
        """`target`: another string of as many words, drawn once and for all by the utterance's id."""
        if goal == "target":
            references = _transcripts(batch)
            targets = [target_of(name, text, self._words) for name, text in zip(batch.ids, references, strict=True)]
            return TargetTranscript.of(references, targets, batch.inputs.values.device)
        return WorstTranscript.of(_transcripts(batch), batch.inputs.values.device, first_error=goal == "flip")

    def outcomes(self, scores: Scores, batch: Batch) -> Outcomes:
        """Word errors over words. Scores that are not finite transcribe nothing, so every word is deleted."""
        references, finite = _transcripts(batch), scores.finite().tolist()
        hypotheses = [text if ok else "" for text, ok in zip(decode(scores), finite, strict=True)]
        errors = [word_errors(r, h) for r, h in zip(references, hypotheses, strict=True)]
        return Outcomes(
            values=tuple(float(row.total) for row in errors),
            weights=tuple(float(len(reference.split())) for reference in references),
            columns={
                "substitutions": tuple(float(row.substitutions) for row in errors),
                "insertions": tuple(float(row.insertions) for row in errors),
                "deletions": tuple(float(row.deletions) for row in errors),
            },
        )

    def distances(self, distance: Tensor, threat: Threat) -> Mapping[str, tuple[float, ...]]:
        """`snr_db`, where the threat bounds it; UNTOUCHED_DB where nothing changed."""
        if threat.norm != "snr":
            return {}
        return {"snr_db": tuple(snr_db(distance).clamp(-UNTOUCHED_DB, UNTOUCHED_DB).tolist())}

    def evidence(self, inputs: list[Inputs]) -> dict[str, Tensor]:
        """samples: int16, the utterances joined end to end. lengths: int64, of each utterance."""
        rows = [(row.values[0] * FULL_SCALE).round().to(torch.int16).cpu() for row in inputs]
        return {
            "samples": torch.cat(rows),
            "lengths": torch.tensor([len(row) for row in rows]),
        }

    def tensors(self, threat: Threat) -> tuple[str, ...]:  # noqa: ARG002
        return ("samples", "lengths")

    def stored(self, evidence: Mapping[str, Tensor]) -> list[Inputs]:
        samples = tensor_of(evidence, "samples", torch.int16)
        rows = cut(samples, tensor_of(evidence, "lengths", torch.int64))
        return [Inputs((row.to(torch.float32) / FULL_SCALE)[None]) for row in rows]

    def rescore(self, victim: Victim, trial: Trial, evidence: Mapping[str, Tensor]) -> Rescored:
        return rescore_static(self, victim, trial, evidence)

    def training_batches(self, recipe: Recipe, epoch: int) -> Iterator[Batch]:
        data = _split("train")
        draw = np.random.default_rng([recipe.seed, epoch])
        order = draw.permutation(len(data)).tolist()
        samples = {i: varied(data.samples[i], draw, recipe.options) for i in order}
        size = recipe.batch_size
        pools = [order[start : start + POOL * size] for start in range(0, len(order), POOL * size)]
        chunks = [
            pool[start : start + size]
            for pool in (sorted(pool, key=lambda i: len(samples[i])) for pool in pools)
            for start in range(0, len(pool), size)
        ]
        for place in draw.permutation(len(chunks)).tolist():
            chosen = chunks[place]
            yield _batch(data, chosen, [samples[i] for i in chosen], torch.device("cpu"))

    def train(self, recipe: Recipe, defense: Defense | None, folder: Path, report: Callable[[str], None]) -> None:
        arguments = {"width": 112, "blocks": 6}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            module = ARCHITECTURES["small-ctc"](**arguments)
            if start := recipe.options.get("start_from"):
                load_weights(module, MODELS / start, read_card(MODELS / start))
            clean_loss = train_static(self, module, partial(SpeechVictim, frozen=False), recipe, defense, report)
        write_model(self, module, "small-ctc", arguments, recipe, data_hash("train"), clean_loss, folder)


def target_of(utterance: str, transcript: str, words: Sequence[str] = WORDS) -> str:
    """What the goal `target` wants to hear instead: at each place another of the words, drawn by the utterance's id."""
    others = [[other for other in words if other != word] for word in transcript.split()]
    return " ".join(
        choices[stable_hash("target", utterance, place) % len(choices)] for place, choices in enumerate(others)
    )


def _in_hz(rate_hz: int) -> str:
    return f"{rate_hz // 1000} kHz" if rate_hz % 1000 == 0 else f"{rate_hz} Hz"


@lru_cache(maxsize=3)
def _split(split: str) -> Utterances:
    return load_split(split)


def _transcripts(batch: Batch) -> tuple[str, ...]:
    return cast("tuple[str, ...]", batch.truth)


def _batch(data: Utterances, chosen: list[int], samples: Sequence[Samples], device: torch.device) -> Batch:
    longest = max(len(row) for row in samples)
    values = np.zeros((len(samples), longest), dtype=np.float32)
    for row, own in zip(values, samples, strict=True):
        row[: len(own)] = own / FULL_SCALE
    lengths = torch.tensor([len(row) for row in samples])
    mask = torch.arange(longest) < lengths[:, None]
    return Batch(
        ids=tuple(data.ids[i] for i in chosen),
        positions=tuple(chosen),
        inputs=Inputs(torch.from_numpy(values), mask).to(device),
        truth=tuple(data.transcripts[i] for i in chosen),
    )


def make() -> SpeechDigits:
    """The task, as its registry entry names it."""
    return SpeechDigits()


def on_data(data: CustomData) -> SpeechDigits:
    """The task on a user's own recordings. Targets are made of what is said in them."""
    load = lru_cache(partial(utterances.load, data))
    said = {word for transcript in load("test").transcripts for word in transcript.split()}
    words = sorted(said) if len(said) > 1 else WORDS
    return SpeechDigits(load, words, utterances.rate_of(data), digits=data.manifest.reference_models)
