from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from adversarial.attacks.deepfool import deepfool
from adversarial.attacks.fgsm import fgsm
from adversarial.attacks.hotflip import hotflip
from adversarial.attacks.noise import noise
from adversarial.errors import NotApplicable
from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.threats import Threat
from tasks.measuring.protocol import Task, Trial
from tasks.sentiment import task as module
from tasks.sentiment.baseline import accuracy_by_style, bag_of_words
from tasks.sentiment.dataset import STYLES, load_split
from tasks.sentiment.recipes import RECIPES, THREAT, UNREALISABLE
from tasks.sentiment.task import SentimentReviews, make
from tasks.sentiment.tokens import tokenise
from tasks.sentiment.victims import ReviewVictim
from tasks.sentiment.words import bundled


MODELS = Path(module.__file__).parent / "models"
CPU = torch.device("cpu")
WORDS = Threat.parse(THREAT)


@lru_cache(maxsize=3)
def victim(name: str) -> ReviewVictim:
    loaded = make().load_victim(MODELS / name, CPU)
    assert isinstance(loaded, ReviewVictim)
    return loaded


def accuracy(name: str, trial: Trial) -> float:
    return make().measure(victim(name), trial, Ledger()).metric()


def clean(split: str = "test") -> Trial:
    return Trial(threat=None, attack=None, split=split)


def test_it_is_a_task() -> None:
    task: Task = make()
    assert isinstance(task, Task)
    assert (task.name, task.metric.name, set(task.recipes)) == ("sentiment-reviews", "accuracy", set(RECIPES))


@pytest.mark.parametrize("name", RECIPES)
def test_a_row_alone_is_the_row_in_a_batch(name: str) -> None:
    task, model = make(), victim(name)
    batch = max(task.batches("test", 64, 64, CPU), key=lambda batch: len(batch.ids))
    together = model(batch.inputs).values
    for row in (0, 17, len(together) - 1):
        length = int(batch.inputs.mask[row].sum()) if batch.inputs.mask is not None else 0
        alone = model(Inputs(batch.inputs.values[row : row + 1, :length])).values
        assert torch.allclose(together[row], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_vectors_and_ids_give_the_same_scores(name: str) -> None:
    model = victim(name)
    ids, mask = bundled().encode([("not", "a", "bad", "film"), ("dreadful",)])
    by_ids = model(Inputs(ids, mask)).values
    by_vectors = model(Inputs(model.embed(ids), mask)).values
    assert torch.equal(by_ids, by_vectors)
    assert torch.allclose(by_ids, model.module(ids, mask), atol=1e-5)


def test_words_met_late_are_read_as_well() -> None:
    model = victim("undefended")
    ids, mask = bundled().encode([("a", "wonderfullest", "film")])
    assert bool(model(Inputs(ids, mask)).finite().all())
    assert bool((model.embed(ids)[0, 1] != 0).any())


def test_the_undefended_model_reads_hand_written_reviews() -> None:
    measured = make().measure(victim("undefended"), clean(), Ledger())
    assert measured.examples.ids == load_split("test").ids
    easy = [
        v
        for v, style in zip(measured.examples.values, measured.examples.columns["group_style"], strict=True)
        if style < 2
    ]
    assert sum(easy) / len(easy) >= 0.80
    assert not measured.findings


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_models_are_what_their_cards_say(name: str) -> None:
    from tasks.models.cards import read_card

    card = read_card(MODELS / name)
    assert accuracy(name, clean()) == pytest.approx(card.clean["accuracy"], abs=0.004)
    assert (card.task, card.model) == ("sentiment-reviews", name)


def test_hotflip_beats_noise_and_adversarial_training_helps() -> None:
    def under(name: str, attack: object) -> float:
        return accuracy(name, Trial(WORDS, attack, split="validation", limit=80))  # type: ignore[arg-type]

    def several(problem: object) -> None:
        hotflip(problem, steps=2 * int(WORDS.budget))  # type: ignore[arg-type]

    undefended = under("undefended", several)
    assert undefended < under("undefended", noise) - 0.2
    assert under("adversarial-training", several) > undefended


@pytest.mark.parametrize("surface", ["words", "embeddings"])
def test_noise_stays_within_the_budget(surface: str) -> None:
    threat = WORDS if surface == "words" else Threat.parse(UNREALISABLE)
    measured = make().measure(victim("undefended"), Trial(threat, noise, limit=40), Ledger())
    assert max(measured.examples.distances) <= threat.radius + 1e-6
    assert min(measured.examples.distances) > 0


def test_evidence_holds_the_disturbed_reviews() -> None:
    task = make()
    measured = task.measure(victim("undefended"), Trial(WORDS, noise, limit=20), Ledger())
    joined, lengths = bytes(measured.evidence["text"].tolist()), measured.evidence["lengths"].tolist()
    ends = np.cumsum([0, *lengths]).tolist()
    texts = [joined[a:b].decode() for a, b in pairwise(ends)]
    for text, original, distance in zip(texts, load_split("test").texts, measured.examples.distances, strict=False):
        before, after = tokenise(original), tokenise(text)
        assert sum(a != b for a, b in zip(before, after, strict=True)) == distance
    vectors = task.measure(victim("undefended"), Trial(Threat.parse(UNREALISABLE), fgsm, limit=20), Ledger())
    assert vectors.evidence["vectors"].dtype == torch.float16
    assert vectors.evidence["vectors"].shape[0] == int(vectors.evidence["lengths"].sum())


def test_of_the_nearest_successes_the_evidence_holds_vectors_whether_within_the_budget_or_not() -> None:
    trial = Trial(
        Threat.parse("embeddings-l2:0.3"), partial(deepfool, steps=5), limit=12, minimum_norm=True, curve=(2.0,)
    )
    measured = make().measure(victim("undefended"), trial, Ledger())
    assert 0 < sum(measured.examples.values) < 12
    lengths = measured.evidence["lengths"].tolist()
    assert measured.evidence["vectors"].shape[0] == sum(lengths)
    assert measured.evidence["vectors"].dtype == torch.float16
    before = make().measure(victim("undefended"), Trial(None, None, limit=12), Ledger())
    assert all(new <= old for old, new in zip(before.examples.values, measured.examples.values, strict=True))


def test_a_share_of_the_budget_that_admits_no_word_is_the_clean_pass() -> None:
    ledger, free = Ledger(), Ledger()
    trial = Trial(Threat.parse("words-l0:2"), partial(hotflip, steps=2), limit=40, curve=(0.25,))
    measured = make().measure(victim("undefended"), trial, ledger)
    make().measure(victim("undefended"), replace(trial, curve=()), free)
    before = make().measure(victim("undefended"), Trial(None, None, limit=40), Ledger())
    assert measured.examples.columns["budget_x0.25"] == before.examples.values
    assert ledger.forwards == free.forwards  # nothing was searched there


def test_spaces_keep_the_graph_of_the_vectors() -> None:
    task, batch = make(), next(iter(make().batches("test", 8, 8, CPU)))

    class Learning:
        differentiable = True
        table = torch.zeros(len(bundled()), 4, requires_grad=True)

        def embed(self, ids: torch.Tensor) -> torch.Tensor:
            return self.table[ids]

        def __call__(self, inputs: Inputs) -> Scores:
            return Scores(inputs.values.sum((1, 2))[:, None].expand(-1, 2))

    space = task.space(Learning(), batch, Threat.parse(UNREALISABLE))
    assert space.apply(space.null()).values.requires_grad


def test_surfaces_that_are_not_there() -> None:
    task: SentimentReviews = make()
    batch = next(iter(task.batches("test", 4, 4, CPU)))

    class Words:
        differentiable = False

        def __call__(self, inputs: Inputs) -> Scores:
            return Scores(torch.zeros(len(inputs), 2))

    with pytest.raises(NotApplicable, match="words and embeddings"):
        task.space(victim("undefended"), batch, Threat.parse("pixels-linf:0.1@gradient"))
    with pytest.raises(NotApplicable, match="does not read word vectors"):
        task.space(Words(), batch, Threat.parse(UNREALISABLE))


def test_a_model_without_word_order_fails_on_negation() -> None:
    table = accuracy_by_style(bag_of_words())
    assert set(table) == {"all", *STYLES}
    share = {style: right / total for style, (right, total) in table.items()}
    assert share["plain"] > share["negated"]
