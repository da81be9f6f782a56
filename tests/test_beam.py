"""Beam search over words: exact where the victim is linear, better than one sentence at a time where it is curved."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from adversarial.attacks.hotflip import hotflip
from adversarial.errors import InvalidOption
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.spaces import words
from adversarial.spaces.words import NO_WORD
from adversarial.threats import Threat


ROWS = 6


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Sentence:
    """The margin is a sum over words, and, where `curved`, over products of neighbours too. Counts its rows."""

    differentiable = True

    def __init__(self, seed: int, curved: float) -> None:
        self.vectors, self.weight, self.curved = draw(seed, 60, 5), draw(seed + 1, 5), curved
        self.forwards = self.backwards = self.widest = 0

    def embed(self, ids: Tensor) -> Tensor:
        return self.vectors[ids]

    def __call__(self, inputs: Inputs) -> Scores:
        vectors = inputs.values if inputs.values.is_floating_point() else self.embed(inputs.values)
        assert inputs.mask is not None
        self.forwards += len(vectors)
        self.widest = max(self.widest, len(vectors))
        if vectors.requires_grad:
            vectors.register_hook(self._count)
        words = (vectors * self.weight).sum(-1) * inputs.mask
        margin = words.sum(1)
        if self.curved:
            margin = margin + self.curved * torch.tanh(3 * words[:, 1:] * words[:, :-1]).sum(1)
        return Scores(torch.stack([-margin, margin], 1))

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def problem(victim: Sentence, budget: int, seed: int = 3, width: int | None = None, threat: str = "") -> Problem:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(6) < torch.tensor([6, 5, 4, 3, 2, 1])[:, None]
    ids = torch.where(mask, torch.randint(0, 20, (ROWS, 6), generator=generator), 0)
    table = torch.cat([ids[:, :, None], torch.randint(20, 60, (ROWS, 6, 3), generator=generator)], 2)
    table[:, 1, 2:] = NO_WORD
    parsed = Threat.parse(threat) if threat else Threat("words", "l0", budget)
    space = words(Inputs(ids, mask), parsed, table)
    keys = Keys.of(0, list("abcdef"))
    labels = torch.zeros(ROWS, dtype=torch.int64)
    return Problem(victim, space, Flip(labels), parsed, keys, early_stopping=False, width=width)


def exhaustive(attacked: Problem, budget: int) -> Tensor:
    """The highest margin of each row over all sentences within the budget."""
    sizes, best = attacked.space.sizes(), []  # type: ignore[attr-defined]
    for row in range(ROWS):
        choices = torch.tensor(
            [c for c in itertools.product(*(range(int(size)) for size in sizes[row])) if sum(map(bool, c)) <= budget]
        )
        view = attacked.space.take(torch.full((len(choices),), row))
        best.append(attacked._victim(view.apply(choices)).values[:, 1].max())
    return torch.stack(best)


def found(attacked: Problem) -> Tensor:
    return attacked._victim(attacked.space.apply(attacked.best.d)).values[:, 1]


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_it_finds_the_optimum_of_a_linear_victim(budget: int) -> None:
    victim = Sentence(4, curved=0.0)
    for beam in (2, 50):
        attacked = problem(victim, budget)
        hotflip(attacked, steps=budget, loss="margin", beam=beam)
        assert torch.allclose(found(attacked), exhaustive(attacked, budget), atol=1e-4)


def test_on_a_curved_victim_a_wider_beam_finds_more_and_a_huge_one_nearly_all() -> None:
    total = dict.fromkeys((1, 2, 4, 400), 0.0)
    most = 0.0
    for seed in range(12):
        victim = Sentence(10 + seed, curved=2.0)
        for beam in total:
            attacked = problem(victim, 3, seed)
            hotflip(attacked, steps=6, loss="margin", beam=beam)
            total[beam] += float(found(attacked).sum())
        most += float(exhaustive(attacked, 3).sum())
    assert total[1] < total[2] < total[4] < total[400] <= most + 1e-3
    assert total[400] - total[1] > 0.5 * (most - total[1]), (total, most)


@pytest.mark.parametrize("width", [1, 4, 100])
def test_the_ledger_is_exact_and_no_pass_is_wider_than_what_fits(width: int) -> None:
    victim = Sentence(4, curved=2.0)
    attacked = problem(victim, 2, width=width)
    hotflip(attacked, steps=4, loss="margin", beam=3)
    assert (attacked.ledger.forwards, attacked.ledger.backwards) == (victim.forwards, victim.backwards)
    assert attacked.ledger.forwards == int(attacked.best.asked.sum())
    assert victim.widest <= width
    assert victim.forwards <= (1 + 3 * 4) * ROWS
    whole = problem(victim, 2)
    hotflip(whole, steps=4, loss="margin", beam=3)
    assert torch.equal(whole.best.d, attacked.best.d)


def test_no_sentence_is_asked_about_twice_in_a_step() -> None:
    attacked = problem(Sentence(5, curved=2.0), 3, width=1000)
    asked: list[tuple[Tensor, Tensor]] = []
    own = Problem.choices

    def choices(self: Problem, d: Tensor, loss: str = "ce") -> object:
        asked.append((self.rows.clone(), d.clone()))
        return own(self, d, loss)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Problem, "choices", choices)
        hotflip(attacked, steps=5, loss="margin", beam=8)
    assert len(asked) == 5
    for rows, d in asked:
        assert len(torch.unique(torch.cat([rows[:, None], d], 1), dim=0)) == len(rows)
        assert bool((attacked.space.take(rows).project(d) == d).all())
        assert int(torch.bincount(rows).max()) <= 8


def test_rows_that_are_done_leave_and_their_beams_with_them() -> None:
    victim = Sentence(4, curved=2.0)
    full, early = problem(victim, 3), problem(victim, 3)
    early.early_stopping = True
    hotflip(full, steps=6, beam=4)
    hotflip(early, steps=6, beam=4)
    assert bool(full.best.success.any())
    assert torch.equal(full.best.success, early.best.success)
    assert early.ledger.forwards < full.ledger.forwards


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_beam_narrows_to_what_a_row_may_still_ask(limit: int) -> None:
    """Nobody is refused: a row near its limit must not end the attack on the others."""
    attacked = problem(Sentence(4, curved=2.0), 3, threat=f"words-l0:3@gradient<={limit}")
    hotflip(attacked, steps=6, beam=4)
    assert int(attacked.best.asked.max()) == limit


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidOption, match="beam must be at least 1, got 0"):
        hotflip(problem(Sentence(4, 0.0), 2), beam=0)
