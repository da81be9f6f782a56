"""One perturbation for all inputs, and its form among words: learned on one split, right on rows it has not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from adversarial.attacks.hotflip import hotflip
from adversarial.attacks.pgd import pgd
from adversarial.attacks.trigger_words import trigger_words
from adversarial.attacks.universal import universal
from adversarial.audit import audit
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces import Ball, embeddings, observations, pixels, waveform, words
from adversarial.threats import Threat


Problems = Callable[[], Iterator[Problem]]
CASES = [
    ("pixels", "linf", 0.1),
    ("pixels", "l2", 0.5),
    ("pixels", "l1", 2.0),
    ("waveform", "linf", 0.01),
    ("waveform", "snr", 15.0),
    ("waveform", "l1", 0.4),
    ("embeddings", "l2", 1.0),
    ("embeddings", "linf", 0.2),
    ("observations", "linf", 0.5),
    ("observations", "l2", 0.5),
    ("observations", "l1", 0.5),
]
SCALE = torch.tensor([1.0, 2.0, 0.1, 0.5])
FIT, TEST = 100, 6  # rows


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Linear:
    """Two classes whose margin is linear, with the same weights at every place; counts the rows it is asked about."""

    differentiable = True

    def __init__(self, surface: str) -> None:
        self.weight = draw(2, *{"pixels": (1, 5, 5), "waveform": (60,), "embeddings": (9, 4)}.get(surface, (4,)))
        self.asked, self.backwards = 0, 0

    def __call__(self, inputs: Inputs) -> Scores:
        values = inputs.values
        if inputs.mask is not None:
            values = values * inputs.mask.reshape(*inputs.mask.shape, *[1] * (values.ndim - inputs.mask.ndim))
        self.asked += len(values)
        if values.requires_grad:
            values.register_hook(self._count)
        weight = self.weight[: values.shape[1]]
        if len(weight) < values.shape[1]:
            weight = weight.repeat(-(-values.shape[1] // len(weight)), *[1] * (weight.ndim - 1))[: values.shape[1]]
        margin = (values * weight).flatten(1).sum(1)
        return Scores(torch.stack([-margin, margin], 1))

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def batch(surface: str, seed: int, rows: int, longest: int | None = None) -> Inputs:
    if surface == "pixels":
        return Inputs((draw(seed, rows, 1, 5, 5) * 0.02 + 0.5).clamp(0, 1))
    if surface == "observations":
        return Inputs(draw(seed, rows, 4) * SCALE)
    longest = longest or (60 if surface == "waveform" else 9)
    lengths = (longest - torch.arange(rows) % (longest // 2))[:, None]
    mask = torch.arange(longest) < lengths
    if surface == "waveform":
        loud = 1000 * (1 + torch.arange(rows) % 5)[:, None]
        return Inputs((draw(seed, rows, longest) * loud).round() / 32768 * mask, mask)
    return Inputs(draw(seed, rows, longest, 4) * mask[:, :, None], mask)


def problem(surface: str, norm: str, budget: float, victim: Linear, inputs: Inputs, ledger: Ledger) -> Problem:
    threat = Threat(surface, norm, budget)  # type: ignore[arg-type]
    space = (
        observations(inputs, threat, SCALE)
        if surface == "observations"
        else {"pixels": pixels, "waveform": waveform, "embeddings": embeddings}[surface](inputs, threat)
    )
    keys = Keys.of(0, [str(row) for row in range(len(inputs))])
    labels = torch.zeros(len(inputs), dtype=torch.int64)
    return Problem(victim, space, Flip(labels), threat, keys, ledger=ledger, early_stopping=False)


def fit_split(surface: str, norm: str, budget: float, victim: Linear, ledger: Ledger) -> Problems:
    def problems() -> Iterator[Problem]:
        for start in range(4):
            inputs = batch(surface, 10 + start, FIT // 4)
            yield problem(surface, norm, budget, victim, inputs, ledger)

    return problems


def fitted(surface: str, norm: str, budget: float) -> tuple[Linear, Problem]:
    victim, ledger = Linear(surface), Ledger()
    attack = universal(fit_split(surface, norm, budget, victim, ledger), epochs=3, loss="margin")
    asked = victim.asked
    attacked = problem(surface, norm, budget, victim, batch(surface, 99, TEST), ledger)
    attack(attacked)
    assert victim.asked == asked  # nothing is learned of, nor asked about, the rows that it is for
    return victim, attacked


@pytest.mark.parametrize(("surface", "norm", "budget"), CASES)
def test_on_a_linear_victim_it_is_as_good_as_an_attack_on_each_row(surface: str, norm: str, budget: float) -> None:
    victim, attacked = fitted(surface, norm, budget)
    audited = audit(attacked.space, attacked.best.d, attacked.inputs)
    clean = victim(attacked.inputs).values[:, 1]
    gain = victim(audited.inputs).values[:, 1] - clean
    known = problem(surface, norm, budget, victim, attacked.inputs, Ledger())
    pgd(known, steps=40, loss="margin")
    best = victim(known.space.apply(known.best.d)).values[:, 1] - clean
    # One tensor for rows of all lengths spends a share of a shorter row's budget where the row itself would not.
    share = 0.85 if attacked.inputs.mask is not None and norm in ("snr", "l2", "l1") else 0.98
    # Nor does it know how far each pixel of a row may move.
    share = 0.75 if surface == "pixels" and norm == "l1" else share
    assert bool((gain >= share * best).all()), (gain / best).tolist()


@pytest.mark.parametrize(("norm", "budget"), [("l2", 2.0), ("l1", 4.0)])
def test_rows_differ_only_where_their_range_ends(norm: str, budget: float) -> None:
    """What a wall takes from one feature of a row is not handed to its others."""
    _, attacked = fitted("pixels", norm, budget)
    d, bounds = attacked.best.d, attacked.space.bounds()  # type: ignore[union-attr]
    free = (d > bounds[0] + 1e-5) & (d < bounds[1] - 1e-5)
    for feature in range(d[0].numel()):
        values = d.flatten(1)[:, feature][free.flatten(1)[:, feature]]
        assert not len(values) or float(values.max() - values.min()) < 1e-5
    assert not bool(free.all())


SHARED = [case for case in CASES if case[1] != "snr" and case[:2] not in (("waveform", "l1"), ("pixels", "l1"))]


@pytest.mark.parametrize(("surface", "norm", "budget"), SHARED)
def test_all_rows_get_the_same_tensor(surface: str, norm: str, budget: float) -> None:
    """But for padding, and for the sizes that a shorter row gives what is left of a coupled norm's direction."""
    _, attacked = fitted(surface, norm, budget)
    d, mask = attacked.best.d, attacked.inputs.mask
    if mask is None:
        assert torch.allclose(d, d[:1].expand_as(d), atol=1e-6)
        return
    assert bool((d[~mask] == 0).all())
    live = mask.reshape(*mask.shape, *[1] * (d.ndim - mask.ndim)).expand_as(d)
    if norm == "linf":
        longest = d[int(mask.sum(1).argmax())]
        assert torch.equal(d, longest * live)
        return
    unit = d / torch.linalg.vector_norm(d.flatten(1), dim=1).reshape(-1, *[1] * (d.ndim - 1))
    shortest = int(mask.sum(1).min())
    parts = unit[:, :shortest] / unit[:, :shortest].flatten(1).norm(dim=1).reshape(-1, *[1] * (d.ndim - 1))
    assert torch.allclose(parts, parts[:1].expand_as(parts), atol=1e-5)


def test_a_relative_budget_is_each_rows_own() -> None:
    _, attacked = fitted("waveform", "snr", 15.0)
    distance = audit(attacked.space, attacked.best.d, attacked.inputs).distance
    assert torch.allclose(distance, attacked.space.radius.double(), rtol=2e-2)  # the 16-bit grid costs a little
    sizes = attacked.best.d.norm(dim=1)
    assert float(sizes.max() / sizes.min()) > 2


@pytest.mark.parametrize("longest", [20, 60, 150])
def test_rows_of_any_length_are_served(longest: int) -> None:
    victim, ledger = Linear("waveform"), Ledger()
    attack = universal(fit_split("waveform", "linf", 0.01, victim, ledger), epochs=1)
    inputs = batch("waveform", 99, TEST, longest)
    attacked = problem("waveform", "linf", 0.01, victim, inputs, ledger)
    attack(attacked)
    audit(attacked.space, attacked.best.d, inputs)
    d = attacked.best.d[0]
    assert bool((d != 0).all())
    for start in range(60, longest, 60):
        assert torch.equal(d[start : start + 60], d[: min(60, longest - start)])


def test_an_epoch_costs_two_forwards_and_a_backward_a_row() -> None:
    victim, ledger = Linear("pixels"), Ledger()
    universal(fit_split("pixels", "linf", 0.1, victim, ledger), epochs=5)
    assert (ledger.forwards, ledger.backwards) == (2 * 5 * FIT, 5 * FIT) == (victim.asked, victim.backwards)


def test_the_best_epoch_is_kept() -> None:
    """A victim that turns about after the first epoch: what was learned then is what was best."""

    class Turning(Linear):
        def __call__(self, inputs: Inputs) -> Scores:
            scores = super().__call__(inputs)
            turned = self.asked > 2 * FIT
            return Scores(scores.values - 50.0 * torch.tensor([0.0, 1.0])) if turned else scores

    victim, ledger = Turning("pixels"), Ledger()
    attack = universal(fit_split("pixels", "linf", 0.1, victim, ledger), epochs=3, loss="margin")
    once = universal(fit_split("pixels", "linf", 0.1, Linear("pixels"), Ledger()), epochs=1, loss="margin")
    found = []
    for learned in (attack, once):
        attacked = problem("pixels", "linf", 0.1, victim, batch("pixels", 99, TEST), ledger)
        learned(attacked)
        found.append(attacked.best.d)
    assert torch.equal(*found)


def test_what_makes_no_sense_is_refused() -> None:
    victim, ledger = Linear("pixels"), Ledger()
    split = fit_split("pixels", "linf", 0.1, victim, ledger)
    with pytest.raises(InvalidOption, match="epochs must be at least 1"):
        universal(split, epochs=0)
    with pytest.raises(InvalidOption, match="momentum must be in"):
        universal(split, momentum=1.5)
    with pytest.raises(NotApplicable, match="must be finite"):
        universal(fit_split("embeddings", "l2", float("inf"), Linear("embeddings"), ledger))
    with pytest.raises(NotApplicable, match="fit split is empty"):
        universal(lambda: iter(()))
    attack = universal(split, epochs=1)
    wide = Inputs(torch.full((2, 1, 5, 7), 0.5))
    with pytest.raises(NotApplicable, match="learned for inputs of"):
        attack(problem("pixels", "linf", 0.1, victim, wide, ledger))
    assert isinstance(problem("pixels", "linf", 0.1, victim, wide, ledger).space, Ball)


class Bag:
    """The margin of a sentence is the sum of its words' values, and, where `bent`, a bow over the sum. Counts rows."""

    differentiable = True

    def __init__(self, bent: bool = False) -> None:
        self.vectors, self.weight, self.bent = draw(4, 80, 5), draw(5, 5), bent
        self.asked, self.backwards = 0, 0

    def embed(self, ids: Tensor) -> Tensor:
        return self.vectors[ids]

    def __call__(self, inputs: Inputs) -> Scores:
        vectors = inputs.values if inputs.values.is_floating_point() else self.embed(inputs.values)
        assert inputs.mask is not None
        self.asked += len(vectors)
        if vectors.requires_grad:
            vectors.register_hook(self._count)
        values = ((vectors * self.weight).sum(-1) * inputs.mask).sum(1)
        margin = values + 4 * torch.sin(values) if self.bent else values
        return Scores(torch.stack([-margin, margin], 1))

    def _count(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def sentences(victim: Bag, seed: int, rows: int, budget: float, ledger: Ledger, first: int = 0) -> Problem:
    """Words first to first + 19, each with the same three candidates wherever it occurs."""
    mask = torch.arange(6) < (6 - torch.arange(rows) % 5)[:, None]
    ids = torch.randint(first, first + 20, (rows, 6), generator=torch.Generator().manual_seed(seed))
    ids = torch.where(mask, ids, 0)
    table = torch.cat([ids[:, :, None], (ids[:, :, None] + torch.tensor([20, 31, 40])).clamp(max=79)], 2)
    threat = Threat("words", "l0", budget)
    keys, labels = Keys.of(0, [str(row) for row in range(rows)]), torch.zeros(rows, dtype=torch.int64)
    space = words(Inputs(ids, mask), threat, table)
    return Problem(victim, space, Flip(labels), threat, keys, ledger=ledger, early_stopping=False)


def learned(victim: Bag, ledger: Ledger, budget: float = 2.0, **options: object) -> Callable[[Problem], None]:
    return trigger_words(
        lambda: iter([sentences(victim, seed, 40, budget, ledger) for seed in (1, 2, 3)]),
        **options,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("budget", [0.0, 1.0, 2.5, 6.0])
def test_where_gains_do_not_depend_on_the_sentence_rules_are_as_good_as_an_attack_on_each(budget: float) -> None:
    victim, ledger = Bag(), Ledger()
    attack = learned(victim, ledger, budget, rounds=2)
    asked = victim.asked
    attacked = sentences(victim, 9, 20, budget, ledger)
    attack(attacked)
    assert victim.asked == asked
    audit(attacked.space, attacked.best.d, attacked.inputs)
    known = sentences(victim, 9, 20, budget, ledger)
    hotflip(known, steps=6, loss="margin")
    margins = [victim(attacked.space.apply(one.best.d)).values[:, 1] for one in (attacked, known)]
    assert torch.allclose(*margins, atol=1e-4)


def test_a_rule_is_the_same_for_all_sentences_and_says_nothing_of_unseen_words() -> None:
    victim, ledger = Bag(bent=True), Ledger()
    attack = learned(victim, ledger, rounds=3)
    replaced: dict[int, int] = {}
    for seed in (9, 10, 11):
        attacked = sentences(victim, seed, 40, 2.0, ledger)
        attack(attacked)
        before, after = attacked.inputs.values, attacked.space.apply(attacked.best.d).values
        for word, replacement in zip(before[after != before].tolist(), after[after != before].tolist(), strict=True):
            assert replaced.setdefault(word, replacement) == replacement
    assert len(replaced) > 5
    unseen = sentences(victim, 9, 40, 2.0, ledger, first=20)
    attack(unseen)
    assert bool((unseen.best.d == 0).all())


def test_a_round_costs_a_forward_and_a_backward_and_the_last_set_a_forward() -> None:
    victim, ledger = Bag(), Ledger()
    learned(victim, ledger, rounds=4)
    assert (ledger.forwards, ledger.backwards) == (5 * 120, 4 * 120) == (victim.asked, victim.backwards)


def test_more_rounds_never_fool_fewer_rows_of_the_split_they_learn_on() -> None:
    fooled = []
    for rounds in (1, 2, 3, 6):
        victim, ledger = Bag(bent=True), Ledger()
        attack = learned(victim, ledger, rounds=rounds)
        attacked = [sentences(victim, seed, 40, 2.0, ledger) for seed in (1, 2, 3)]
        for one in attacked:
            attack(one)
        fooled.append(sum(int(one.evaluate(one.best.d).success.sum()) for one in attacked))
    clean = sum(int(one.evaluate(one.space.null()).success.sum()) for one in attacked)
    assert fooled == sorted(fooled)
    assert fooled[-1] > clean


def test_rules_need_words_and_rounds() -> None:
    with pytest.raises(InvalidOption, match="rounds must be at least 1"):
        learned(Bag(), Ledger(), rounds=0)
    with pytest.raises(NotApplicable, match="fit split is empty"):
        trigger_words(lambda: iter(()))
    with pytest.raises(NotApplicable, match="candidates"):
        trigger_words(fit_split("pixels", "linf", 0.1, Linear("pixels"), Ledger()))
    with pytest.raises(NotApplicable, match="words are attacked"):
        universal(lambda: iter([sentences(Bag(), 1, 4, 2.0, Ledger())]))
