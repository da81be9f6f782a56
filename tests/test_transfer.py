"""Transfer: surrogates are asked, the target never is."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from adversarial.attacks.pgd import pgd
from adversarial.attacks.transfer import transfer
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces import Space, embeddings, pixels, words
from adversarial.threats import Threat


ROWS = 5


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Bent:
    """Two classes, a margin that is a weighed sum of bent features. Counts its rows."""

    differentiable = True

    def __init__(self, weight: Tensor, bend: float = 0.0) -> None:
        self.weight, self.bend, self.rows = weight, bend, 0
        self.table = draw(9, 90, 4)

    def embed(self, ids: Tensor) -> Tensor:
        return self.table[ids]

    def __call__(self, inputs: Inputs) -> Scores:
        self.rows += len(inputs)
        values = inputs.values if inputs.values.is_floating_point() else self.embed(inputs.values)
        flat = values.flatten(1)
        margin = ((flat + self.bend * torch.sin(3 * flat)) * self.weight[: flat.shape[1]]).sum(1)
        return Scores(torch.stack([-margin, margin], 1))


def images() -> Tensor:
    return (draw(1, ROWS, 1, 6, 6) * 0.2 + 0.5).clamp(0.2, 0.8)


def problems(target: Bent, surrogates: list[Bent], space: Space, threat: Threat) -> tuple[Problem, Ledger]:
    keys, ledger = Keys.of(0, list("abcde")), Ledger()
    goal = Flip(torch.zeros(ROWS, dtype=torch.int64))
    asked = threat.on_surrogates()
    others = tuple(Problem(one, space, goal, asked, keys, ledger=ledger, early_stopping=False) for one in surrogates)
    return Problem(target, space, goal, threat, keys, ledger=ledger, surrogates=others), ledger


def made_on(
    surrogates: list[Bent], threat: str = "pixels-linf:0.1@surrogate", **options: object
) -> tuple[Tensor, Bent]:
    target, parsed = Bent(draw(5, 36)), Threat.parse(threat)
    space = pixels(Inputs(images()), parsed)
    problem, ledger = problems(target, surrogates, space, parsed)
    transfer(problem, **options)  # type: ignore[arg-type]
    assert target.rows == 0
    assert ledger.forwards == ledger.backwards == sum(one.rows for one in surrogates)
    return problem.best.d, target


@pytest.mark.parametrize("threat", ["pixels-linf:0.1@surrogate", "pixels-l2:0.4@surrogate", "pixels-l1:4@surrogate"])
@pytest.mark.parametrize("momentum", [0.0, 0.7, 1.0])
def test_on_one_surrogate_it_is_the_last_point_of_momentum_pgd_there(threat: str, momentum: float) -> None:
    weight = draw(2, 36)
    found, _ = made_on([Bent(weight, 0.5)], threat, steps=6, momentum=momentum)
    parsed = Threat.parse(threat).with_access("gradient")
    space = pixels(Inputs(images()), parsed)
    keys, goal = Keys.of(0, list("abcde")), Flip(torch.zeros(ROWS, dtype=torch.int64))
    problem = Problem(Bent(weight, 0.5), space, goal, parsed, keys, early_stopping=False)
    points: list[Tensor] = []
    evaluate = problem.evaluate
    problem.evaluate = lambda d, *how: points.append(d) or evaluate(d, *how)  # type: ignore
    pgd(problem, steps=6, random_start=False, momentum=momentum)
    assert torch.allclose(found, points[-1], atol=1e-6)


def test_an_ensemble_of_linear_models_finds_the_best_point_of_their_sum() -> None:
    one, other = draw(2, 36), draw(3, 36)
    found, _ = made_on([Bent(one / one.abs().mean()), Bent(1000 * other / other.abs().mean())], steps=5, loss="margin")
    together = one / one.abs().mean() + other / other.abs().mean()
    assert torch.allclose(found.flatten(1), 0.1 * together.sign().expand(ROWS, -1), atol=1e-6)


def test_surrogates_that_resemble_the_target_break_it_and_others_do_not() -> None:
    weight = draw(5, 36)
    like, unlike = made_on([Bent(weight + 0.3 * draw(6, 36))])[0], made_on([Bent(draw(7, 36))])[0]
    target = Bent(weight)
    gains = [
        (target(Inputs(images() + d)).values - target(Inputs(images())).values)[:, 1].mean() for d in (like, unlike)
    ]
    assert float(gains[0]) > 5 * abs(float(gains[1]))


def test_diversity_is_keyed_and_the_gradient_goes_through_it() -> None:
    weight = draw(2, 36)
    plain, _ = made_on([Bent(weight, 0.5)], steps=6)
    diverse, _ = made_on([Bent(weight, 0.5)], steps=6, diversity=1.0)
    again, _ = made_on([Bent(weight, 0.5)], steps=6, diversity=1.0)
    never, _ = made_on([Bent(weight, 0.5)], steps=6, diversity=1e-9)
    assert torch.equal(diverse, again)
    assert torch.equal(plain, never)
    assert not torch.equal(plain, diverse)
    # Through small shifts and shrinks, a smooth image's gradient still points the same way.
    ramp = torch.linspace(-1, 1, 36).sign()
    smooth, _ = made_on([Bent(ramp)], steps=6, diversity=1.0)
    assert float((smooth.flatten(1) * ramp).sum(1).min()) > 0.6 * 0.1 * 36


def test_translation_smooths_images_over_both_axes() -> None:
    weight = torch.zeros(36)
    weight[14] = 1.0  # one pixel of 6 x 6
    found, _ = made_on([Bent(weight)], steps=1, translation=3)
    moved = found[0, 0] != 0
    assert moved[1:4, 1:4].all()
    assert int(moved.sum()) == 9


@pytest.mark.parametrize("budget", [1, 2])
def test_on_words_the_replacements_are_the_best_for_the_sum_of_the_surrogates(budget: int) -> None:
    ids = torch.arange(ROWS * 3).reshape(ROWS, 3)
    table = torch.stack([ids, ids + 20, ids + 40, ids + 60], 2)
    threat = Threat.parse(f"words-l0:{budget}@surrogate")
    space = words(Inputs(ids, torch.ones(ROWS, 3, dtype=torch.bool)), threat, table)
    surrogates, target = [Bent(draw(2, 12)), Bent(draw(3, 12))], Bent(draw(4, 12))
    problem, _ = problems(target, surrogates, space, threat)
    transfer(problem, steps=4, loss="margin")
    assert target.rows == 0
    assert int((problem.best.d != 0).sum(1).max()) <= budget
    for row in range(ROWS):
        gains = torch.zeros(3, 4)
        for one in surrogates:
            vectors = one.table[table[row]]
            gain = ((vectors - vectors[:, :1]) * one.weight.reshape(3, 1, 4)).sum(-1)
            gains += gain / gain.abs().max()
        best, choice = gains.max(1)
        wanted = torch.zeros(3, dtype=torch.int64)
        for place in best.argsort(descending=True)[:budget].tolist():
            wanted[place] = choice[place] if best[place] > 0 else 0
        assert problem.best.d[row].tolist() == wanted.tolist()


def test_bad_options_and_a_lonely_target_are_refused() -> None:
    for options in (
        {"steps": 0},
        {"momentum": 2.0},
        {"diversity": -1.0},
        {"translation": 4},
        {"translation": 7},
        {"relative_step": 0.0},
    ):
        with pytest.raises(InvalidOption):
            made_on([Bent(draw(2, 36))], **options)
    with pytest.raises(NotApplicable, match="another model"):
        made_on([])
    observed = Inputs(draw(1, ROWS, 4))
    threat = Threat.parse("embeddings-l2:1@surrogate")
    space = embeddings(observed, threat)
    problem, _ = problems(Bent(draw(5, 4)), [Bent(draw(2, 4))], space, threat)
    with pytest.raises(InvalidOption, match="images"):
        partial(transfer, diversity=0.5)(problem)
    other = Problem(Bent(draw(2, 3)), embeddings(Inputs(draw(1, ROWS, 3)), threat), problem.goal, threat, problem.keys)
    with pytest.raises(NotApplicable, match=r"\[5, 3\] where the target reads \[5, 4\]"):
        transfer(Problem(Bent(draw(5, 4)), space, problem.goal, threat, problem.keys, surrogates=(other,)))


def test_a_query_limit_binds_the_target_and_not_the_attackers_own_models() -> None:
    threat = Threat.parse("pixels-linf:0.1@surrogate<=2")
    assert str(threat.on_surrogates()) == "pixels-linf:0.1@gradient"
    found, _ = made_on([Bent(draw(2, 36))], str(threat), steps=5)
    assert bool((found != 0).any())
