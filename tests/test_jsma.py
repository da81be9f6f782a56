"""JSMA: the published saliency, the fewest features on linear victims, and word saliency by brute force."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from adversarial.attacks.jsma import best_pair, jsma
from adversarial.attacks.saliency import saliency
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.problem import Problem
from adversarial.spaces import observations, pixels, words
from adversarial.threats import Threat


ROWS, SIDE = 6, 5
FEATURES = SIDE * SIDE
INF = float("inf")


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Linear:
    """Scores are weights times features, and an offset that sets how far the decision is."""

    differentiable = True

    def __init__(self, weights: Tensor, offset: Tensor) -> None:
        self.weights, self.offset = weights, offset

    def embed(self, ids: Tensor) -> Tensor:
        return draw(8, 200, 4)[ids]

    def __call__(self, inputs: Inputs) -> Scores:
        values = inputs.values if inputs.values.is_floating_point() else self.embed(inputs.values)
        return Scores(values.flatten(1) @ self.weights.T + self.offset)


def opposed(lead: float) -> Linear:
    """Two classes with opposite weights; the first leads by twice `lead` at the middle of the range."""
    weight = draw(3, FEATURES)
    return Linear(torch.stack([-weight, weight]), torch.tensor([lead + 0.5 * weight.sum(), -lead - 0.5 * weight.sum()]))


def problem(victim: Linear, values: Tensor, targets: Tensor | None = None, budget: float = INF) -> Problem:
    threat = Threat("pixels", "l0", budget)
    labels = victim(Inputs(values)).values.argmax(1)
    keys = Keys.of(0, [str(row) for row in range(len(values))])
    return Problem(victim, pixels(Inputs(values), threat), Flip(labels, targets), threat, keys, minimum_norm=True)


def fewest(victim: Linear, values: Tensor, direction: str) -> Tensor:
    """The fewest features at an end of their range that give class 1 the lead: those of the largest gains."""
    weight = 2 * victim.weights[1]
    rows = values.flatten(1)
    up, down = weight * (1 - rows), -weight * rows
    gains = {"increase": up, "decrease": down, "both": torch.maximum(up, down)}[direction].clamp(min=0)
    scores = victim(Inputs(values)).values
    lead = scores[:, 0] - scores[:, 1]
    reached = gains.sort(dim=1, descending=True).values.cumsum(1) > lead[:, None]
    return reached.to(torch.int64).argmax(1) + 1


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("direction", ["increase", "decrease", "both"])
@pytest.mark.parametrize("lead", [0.3, 1.0, 2.0])
def test_within_one_pair_of_the_fewest_features(lead: float, direction: str, targeted: bool) -> None:
    victim = opposed(lead)
    values = torch.full((ROWS, 1, SIDE, SIDE), 0.5) + 0.02 * draw(5, ROWS, 1, SIDE, SIDE)
    attacked = problem(victim, values, torch.ones(ROWS, dtype=torch.int64) if targeted else None)
    jsma(attacked, share=1.0, direction=direction)
    assert bool(attacked.best.success.all())
    changed = (attacked.best.d != 0).flatten(1).sum(1)
    best = fewest(victim, values, direction)
    assert bool((changed >= best).all())
    assert bool((changed <= best + 2).all())
    if direction != "both":
        moved = attacked.best.d[attacked.best.d != 0]
        assert bool((moved > 0).all() if direction == "increase" else (moved < 0).all())


@pytest.mark.parametrize("seed", range(6))
def test_the_pair_is_the_one_of_the_paper(seed: int) -> None:
    """By brute force over all pairs, features out of the domain left out."""
    alpha, beta = draw(seed, 4, 12), draw(seed + 50, 4, 12)
    domain = draw(seed + 90, 4, 12) > -0.8
    single = torch.tensor([False, False, True, False])
    worth, pair = best_pair(alpha, beta, domain, single)
    for row in range(4):
        best = 0.0
        places = [place for place in range(12) if domain[row, place]]
        pairs = [(p, p) for p in places] if single[row] else list(itertools.combinations(places, 2))
        for first, second in pairs:
            rise, fall = float(alpha[row, first] + alpha[row, second]), float(beta[row, first] + beta[row, second])
            best = max(best, -rise * fall if rise > 0 > fall else 0.0)
        assert float(worth[row]) == pytest.approx(best, rel=1e-5)
        if best > 0:
            chosen = pair[row].tolist()
            rise, fall = float(alpha[row, chosen].sum()), float(beta[row, chosen].sum())
            assert -rise * fall == pytest.approx(best, rel=1e-5)


def test_the_other_classes_count_as_much_as_the_target() -> None:
    """The two features that most raise the target raise a third class more, and the paper's pair avoids them."""
    weights = torch.zeros(3, FEATURES)
    weights[1, :2], weights[2, :2] = 2.0, 3.0
    weights[1, 4:6], weights[0, 4:6] = 1.0, -1.0
    victim = Linear(weights, torch.tensor([2.5, 0.0, 0.0]))
    values = torch.zeros(1, 1, SIDE, SIDE)
    attacked = problem(victim, values, torch.tensor([1]))
    jsma(attacked, share=1.0)
    assert bool(attacked.best.success.all())
    assert attacked.best.d.flatten().nonzero().squeeze(1).tolist() == [4, 5]


@pytest.mark.parametrize("target", [0, 1, 2])
def test_without_a_target_the_runner_up_is_it_and_not_the_next_label(target: int) -> None:
    offsets = torch.full((3,), -5.0)
    offsets[target], offsets[(target + 2) % 3] = 2.0, 0.5
    weights = torch.full((3, FEATURES), -0.1)
    for place in range(3):
        weights[place, place * 2 : place * 2 + 2] = 1.0
    attacked = problem(Linear(weights, offsets), torch.zeros(1, 1, SIDE, SIDE))
    jsma(attacked, share=1.0)
    other = (target + 2) % 3
    assert attacked.best.d.flatten().nonzero().squeeze(1).tolist() == [2 * other, 2 * other + 1]


@pytest.mark.parametrize(("budget", "share", "most"), [(INF, 0.2, 5), (3.0, 1.0, 3), (4.0, 1.0, 4), (1.0, 1.0, 1)])
def test_no_more_features_than_allowed(budget: float, share: float, most: int) -> None:
    victim = opposed(30.0)
    attacked = problem(victim, torch.full((ROWS, 1, SIDE, SIDE), 0.5), budget=budget)
    attacked.minimum_norm = False
    jsma(attacked, share=share)
    changed = (attacked.best.d != 0).flatten(1).sum(1)
    assert int(changed.max()) == most


@pytest.mark.parametrize("budget", [1, 2, 3, 5])
def test_without_a_bound_no_count_hides_a_success_that_a_bound_shows(budget: int) -> None:
    victim = opposed(0.2)
    victim.offset = torch.tensor([0.0, 0.0]) + victim.offset
    values = torch.full((40, 1, SIDE, SIDE), 0.5) + 0.1 * draw(5, 40, 1, SIDE, SIDE)
    free, bounded = problem(victim, values), problem(victim, values, budget=float(budget))
    bounded.minimum_norm = False
    jsma(free, share=1.0)
    jsma(bounded, share=1.0)
    within = (free.best.d != 0).flatten(1).sum(1) <= budget
    assert torch.equal(free.best.success & within, bounded.best.success)
    assert int(within.sum()) > 0


def test_memory_does_not_grow_with_the_square_of_the_features() -> None:
    side = 96
    features = side * side
    victim = Linear(torch.stack([-draw(3, features), draw(3, features)]), torch.tensor([20.0, -20.0]))
    attacked = problem(victim, torch.full((1, 1, side, side), 0.5))

    class Largest(TorchDispatchMode):
        most = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            found = func(*args, **(kwargs or {}))
            for one in found if isinstance(found, tuple | list) else (found,):
                if isinstance(one, Tensor):
                    self.most = max(self.most, one.untyped_storage().nbytes() // one.element_size())
            return found

    with Largest() as watched:
        jsma(attacked, share=0.01)
    assert bool(attacked.best.success.all())
    assert watched.most < 40 * features < features * features


def test_words_are_chosen_by_brute_force() -> None:
    ids = torch.arange(ROWS * 3).reshape(ROWS, 3)
    table = torch.stack([ids, ids + 40, ids + 80], 2)
    threat = Threat("words", "l0", 1)
    victim = Linear(draw(2, 3, 12), torch.zeros(3))
    space = words(Inputs(ids, torch.ones(ROWS, 3, dtype=torch.bool)), threat, table)
    scores = victim(Inputs(ids)).values
    labels = scores.argmax(1)
    attacked = Problem(victim, space, Flip(labels), threat, Keys.of(0, list("abcdef")), early_stopping=False)
    saliency(attacked)
    for row in range(ROWS):
        target = int(scores[row].scatter(0, labels[row], -INF).argmax())
        best, wanted = 0.0, [0, 0, 0]
        for position, choice in itertools.product(range(3), (1, 2)):
            replaced = ids[row : row + 1].clone()
            replaced[0, position] = table[row, position, choice]
            change = victim(Inputs(replaced)).values[0] - scores[row]
            rise, fall = float(change[target]), float(change.sum() - change[target])
            if rise > 0 > fall and -rise * fall > best:
                best, wanted = -rise * fall, [choice if place == position else 0 for place in range(3)]
        found = attacked.best.d[row].tolist()
        before, after = (attacked.goal.loss(victim(Inputs(ids)), "margin")[row], attacked.best.loss[row])
        assert found == wanted or (found == [0, 0, 0] and bool(after >= before))  # the best point seen is kept


def test_what_it_cannot_do_is_said() -> None:
    victim = opposed(1.0)
    values = torch.full((1, 1, SIDE, SIDE), 0.5)
    for options in ({"theta": 0.0}, {"share": 0.0}, {"direction": "up"}):
        with pytest.raises(InvalidOption):
            jsma(problem(victim, values), **options)  # type: ignore[arg-type]
    threat = Threat("observations", "l0", 2)
    open_range = observations(Inputs(draw(1, 2, 4)), threat, torch.ones(4))
    flip = Flip(torch.zeros(2, dtype=torch.int64))
    if open_range.bounds() is None:
        with pytest.raises(NotApplicable, match="open"):
            jsma(Problem(victim, open_range, flip, threat, Keys.of(0, ["a", "b"])))


def test_where_no_pair_does_both_the_search_goes_on() -> None:
    """All features raise both classes, one pair the target more: by the published rule there is no pair at all."""
    weights = torch.zeros(2, FEATURES)
    weights[0], weights[1] = 0.1, 0.12
    weights[1, 7:9] = 2.0
    attacked = problem(Linear(weights, torch.tensor([2.0, 0.0])), torch.zeros(1, 1, SIDE, SIDE))
    jsma(attacked, share=1.0)
    assert bool(attacked.best.success.all())
    assert attacked.best.d.flatten().nonzero().squeeze(1).tolist() == [7, 8]
