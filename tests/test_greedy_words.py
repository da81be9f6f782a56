"""Greedy search on true scores: exact where words add up, never better than exact where they do not, and counted."""

from __future__ import annotations

import itertools

import pytest
import torch
from test_beam import ROWS, Sentence, exhaustive, problem

from adversarial.attacks.greedy_words import greedy_words
from adversarial.attacks.hotflip import hotflip
from adversarial.errors import AccessDenied, InvalidOption


def margins(attacked, victim: Sentence) -> torch.Tensor:  # type: ignore[no-untyped-def]
    return victim(attacked.space.apply(attacked.best.d)).values[:, 1]


@pytest.mark.parametrize("budget", [1, 2, 3, 6])
def test_greedy_is_exact_where_the_words_add_up(budget: int) -> None:
    victim = Sentence(0, curved=0.0)
    attacked = problem(victim, budget, threat=f"words-l0:{budget}@scores")
    greedy_words(attacked)
    torch.testing.assert_close(margins(attacked, victim), exhaustive(attacked, budget))


@pytest.mark.parametrize("seed", range(4))
def test_one_replacement_is_the_best_of_all_whatever_the_victim(seed: int) -> None:
    """First-order gains miss it: the victim bends between two words."""
    victim = Sentence(2 * seed, curved=2.0)
    attacked = problem(victim, 1, seed=seed, threat="words-l0:1@scores")
    greedy_words(attacked)
    torch.testing.assert_close(margins(attacked, victim), exhaustive(attacked, 1))


def test_exchanges_come_closer_to_exact_and_never_beyond() -> None:
    gaps = dict.fromkeys((0, 1, 3), 0.0)
    for seed in range(12):
        victim = Sentence(2 * seed, curved=2.0)
        exact = None
        for exchanges in gaps:
            attacked = problem(victim, 2, seed=seed, threat="words-l0:2@scores")
            greedy_words(attacked, exchanges=exchanges)
            exact = exhaustive(attacked, 2) if exact is None else exact
            left = exact - margins(attacked, victim)
            assert bool((left >= -1e-5).all())
            gaps[exchanges] += float(left.sum())
    assert gaps[3] <= gaps[1] < gaps[0]
    assert gaps[1] < 0.8 * gaps[0]


def test_true_scores_beat_first_order_gains() -> None:
    greedy = flipped = 0.0
    for seed in range(12):
        victim = Sentence(2 * seed, curved=2.0)
        attacked = problem(victim, 2, seed=seed, threat="words-l0:2@scores")
        greedy_words(attacked)
        greedy += float(margins(attacked, victim).sum())
        attacked = problem(victim, 2, seed=seed)
        hotflip(attacked, steps=8, loss="margin", beam=4)
        flipped += float(margins(attacked, victim).sum())
    assert greedy > flipped


@pytest.mark.parametrize("limit", [1, 2, 5, 17, 40])
def test_no_row_asks_more_often_than_it_may(limit: int) -> None:
    victim = Sentence(0, curved=2.0)
    attacked = problem(victim, 3, threat=f"words-l0:3@scores<={limit}")
    greedy_words(attacked)
    assert victim.forwards == attacked.ledger.forwards == attacked.ledger.queries == int(attacked.best.asked.sum())
    assert int(attacked.best.asked.max()) <= limit
    assert victim.backwards == 0


def test_more_queries_never_do_less_harm() -> None:
    found = []
    for limit in (1, 3, 9, 27, 81, 243):
        victim = Sentence(4, curved=2.0)
        attacked = problem(victim, 3, threat=f"words-l0:3@scores<={limit}")
        greedy_words(attacked)
        found.append(margins(attacked, victim))
    for fewer, more in itertools.pairwise(found):
        assert bool((more >= fewer - 1e-6).all())


@pytest.mark.parametrize("width", [1, 4, 1000])
def test_the_batch_decides_nothing(width: int) -> None:
    victim = Sentence(0, curved=2.0)
    alone, wide = (problem(victim, 3, width=size, threat="words-l0:3@scores") for size in (width, ROWS))
    greedy_words(alone)
    victim.widest = 0
    greedy_words(wide)
    assert torch.equal(alone.best.d, wide.best.d)
    assert victim.widest <= ROWS


def test_what_it_needs_and_what_it_refuses() -> None:
    with pytest.raises(InvalidOption, match="exchanges"):
        greedy_words(problem(Sentence(0, 0.0), 3, threat="words-l0:3@scores"), exchanges=-1)
    with pytest.raises(AccessDenied):
        greedy_words(problem(Sentence(0, 0.0), 3, threat="words-l0:3@none"))
    still = problem(Sentence(0, 0.0), 0, threat="words-l0:0@scores")
    greedy_words(still)
    assert not bool(still.best.d.any())
