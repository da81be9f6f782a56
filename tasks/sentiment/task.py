"""The task `sentiment-reviews`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from adversarial.errors import DataError, NotApplicable
from adversarial.goals import Flip, Goal
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.spaces import Space, embeddings, words
from adversarial.threats import Threat
from adversarial.victims import EmbeddingVictim, ModuleVictim, Victim
from leaderboard.records.metric import Metric
from tasks.data import CustomData
from tasks.measuring.batches import Batch, Outcomes, first_examples
from tasks.measuring.classes import class_fault, class_outcomes
from tasks.measuring.protocol import Defense, GoalName, Measurement, ModelInterface, Rescored, Trial
from tasks.measuring.rescoring import cut, rescore_static, tensor_of
from tasks.measuring.static import measure_static
from tasks.measuring.training import train_static, write_model
from tasks.models.architectures import build
from tasks.models.cards import read_card
from tasks.models.recipes import Recipe
from tasks.sentiment import custom_data as reviews
from tasks.sentiment.candidates import Choices, candidates
from tasks.sentiment.custom_words import CustomWords, custom_words
from tasks.sentiment.dataset import LABELS, Reviews, data_hash, load_split
from tasks.sentiment.model import ARCHITECTURES, ReviewNet, training_vocabulary
from tasks.sentiment.recipes import RECIPES
from tasks.sentiment.tokens import tokenise
from tasks.sentiment.victims import ReviewVictim, TrainableVictim
from tasks.sentiment.words import bundled


class SentimentReviews:
    """Short reviews, positive (1) or negative (0); accuracy.

    Victims read the ids of tasks.sentiment.words.bundled(). The column `group_style` says how a review is put, as a
    place in tasks.sentiment.dataset.STYLES: plain 0, negated 1, contrast 2, sarcastic 3. data: other reviews, by split,
    of which no styles are known; choices: the candidates of their words; classes: what they call the two classes.
    """

    name = "sentiment-reviews"
    metric = Metric("accuracy", floor=0.0, ceiling=1.0)
    recipes: Mapping[str, Recipe] = RECIPES

    def __init__(
        self,
        data: Callable[[str], Reviews] | None = None,
        choices: Choices = candidates,
        classes: Sequence[str] = LABELS,
    ) -> None:
        self._data, self._styled, self._choices = data or load_split, data is None, choices
        self._classes = tuple(classes)

    @property
    def interface(self) -> ModelInterface:
        return ModelInterface(
            "word ids, int64 [batch, words] (tasks.sentiment.words.bundled() knows the words), or word vectors, and "
            "their mask, bool [batch, words]",
            f"logits [batch, 2], {' and '.join(self._classes)}",
            2,
        )

    def load_victim(self, folder: Path, device: torch.device) -> Victim:
        return self.wrap(build(ARCHITECTURES, folder, read_card(folder)).to(device))

    def wrap(self, module: nn.Module) -> Victim:
        """With its word vectors, where it has an `embed`."""
        return ReviewVictim(module) if callable(getattr(module, "embed", None)) else ModuleVictim(module)

    def sample(self, count: int, device: torch.device) -> tuple[Inputs, Goal]:
        return first_examples(self, count, device)

    def fault(self, scores: Scores, inputs: Inputs, others: int) -> str:  # noqa: ARG002
        return class_fault(scores, 2, others)

    def measure(self, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
        return measure_static(self, victim, trial, ledger)

    def batches(self, split: str, limit: int | None, batch_size: int, device: torch.device) -> Iterator[Batch]:
        data = self._data(split)
        sentences = [tokenise(text) for text in data.texts[:limit]]
        order = sorted(range(len(sentences)), key=lambda place: len(sentences[place]))
        yield from _batches(data, order, batch_size, device)

    def space(self, victim: Victim, batch: Batch, threat: Threat) -> Space:
        if threat.surface == "words":
            return words(batch.inputs, threat, bundled().table(batch.inputs.values, self._choices))
        if threat.surface != "embeddings":
            raise NotApplicable(f"sentiment-reviews offers words and embeddings, not {threat.surface}")
        if not isinstance(victim, EmbeddingVictim):
            raise NotApplicable("the victim does not read word vectors, so it has no embeddings to attack")
        return embeddings(Inputs(victim.embed(batch.inputs.values), batch.inputs.mask), threat)

    def goal(self, batch: Batch, goal: GoalName) -> Goal:  # noqa: ARG002  (a class decision is as wrong as can be)
        return Flip(torch.tensor([label for label, _ in _truth(batch)], device=batch.inputs.values.device))

    def outcomes(self, scores: Scores, batch: Batch) -> Outcomes:
        labels, styles = zip(*_truth(batch), strict=True)
        columns = {"group_style": tuple(map(float, styles))} if self._styled else {}
        return class_outcomes(scores, labels, columns)

    def distances(self, distance: Tensor, threat: Threat) -> Mapping[str, tuple[float, ...]]:  # noqa: ARG002
        return {}

    def evidence(self, inputs: list[Inputs]) -> dict[str, Tensor]:
        """Words: `text`, the sentences' UTF-8 bytes one after the other, and `lengths` in bytes. Embeddings:
        `vectors`, float16 [words of all sentences, width], and `lengths` in words."""
        if inputs and inputs[0].values.is_floating_point():
            vectors = [row.values[0].to(torch.float16) for row in inputs]
            return {"vectors": torch.cat(vectors), "lengths": torch.tensor([len(row) for row in vectors])}
        texts = [bundled().decode(row.values[0]).encode() for row in inputs]
        joined = np.frombuffer(b"".join(texts), dtype=np.uint8).copy()
        return {"text": torch.from_numpy(joined), "lengths": torch.tensor([len(text) for text in texts])}

    def tensors(self, threat: Threat) -> tuple[str, ...]:
        return ("vectors" if threat.surface == "embeddings" else "text", "lengths")

    def stored(self, evidence: Mapping[str, Tensor]) -> list[Inputs]:
        if "vectors" in evidence:
            raise NotApplicable("word vectors are stored in half precision, so they cannot be judged again")
        rows = cut(tensor_of(evidence, "text", torch.uint8), tensor_of(evidence, "lengths", torch.int64))
        try:
            texts = [bytes(row.tolist()).decode("utf-8") for row in rows]
        except UnicodeDecodeError as error:
            raise DataError(f"a stored review is not UTF-8: {error}") from None
        return [Inputs(*bundled().encode([tuple(text.split(" "))])) for text in texts]

    def rescore(self, victim: Victim, trial: Trial, evidence: Mapping[str, Tensor]) -> Rescored:
        return rescore_static(self, victim, trial, evidence)

    def training_batches(self, recipe: Recipe, epoch: int) -> Iterator[Batch]:
        data = load_split("train")
        order = np.random.default_rng([recipe.seed, epoch]).permutation(len(data.ids)).tolist()
        yield from _batches(data, order, recipe.batch_size, torch.device("cpu"))

    def train(self, recipe: Recipe, defense: Defense | None, folder: Path, report: Callable[[str], None]) -> None:
        """Trains from scratch; the option `clean_epochs` says for how long before the defense begins."""
        vocabulary = training_vocabulary()
        arguments = {"width": 48, "hidden": 64, "dropout": 0.3, "known": len(vocabulary)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            module: nn.Module = ARCHITECTURES["review-net"](**arguments)
            cast("ReviewNet", module).vocabulary.copy_(vocabulary)
            if clean_epochs := int(recipe.options.get("clean_epochs", 0)):
                first = replace(recipe, defense="none", epochs=clean_epochs)
                train_static(self, module, TrainableVictim, first, None, report)
            clean_loss = train_static(self, module, TrainableVictim, recipe, defense, report)
        # In half precision: most of the weights are a table of n-gram vectors, and the bundle is to stay small.
        write_model(
            self, module, "review-net", arguments, recipe, data_hash("train"), clean_loss, folder, torch.float16
        )


def _truth(batch: Batch) -> tuple[tuple[int, int], ...]:
    """Label and style of each row."""
    return cast("tuple[tuple[int, int], ...]", batch.truth)


def _batches(data: Reviews, order: list[int], batch_size: int, device: torch.device) -> Iterator[Batch]:
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        ids, mask = bundled().encode(tokenise(data.texts[place]) for place in chosen)
        yield Batch(
            ids=tuple(data.ids[place] for place in chosen),
            positions=tuple(chosen),
            inputs=Inputs(ids.to(device), mask.to(device)),
            truth=tuple((data.labels[place], data.styles[place]) for place in chosen),
        )


def make() -> SentimentReviews:
    """The task, as its registry entry names it."""
    return SentimentReviews()


def on_data(data: CustomData) -> SentimentReviews:
    """The task on a user's own texts."""
    custom_words(data)
    load = lru_cache(partial(reviews.load, data))
    return SentimentReviews(load, CustomWords(data).candidates, data.manifest.classes)
