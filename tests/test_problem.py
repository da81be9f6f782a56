"""The problem's bookkeeping: which point is kept, who may ask what, and what is no success."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from adversarial.errors import (
    AccessDenied,
    DeadlineReached,
    InvalidOption,
    NotApplicable,
    QueryLimitReached,
    UnknownName,
)
from adversarial.goals import Flip, Judgement
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces import pixels
from adversarial.threats import Threat


class Echo:
    """Answers two logits: 0 and the first pixel minus a half."""

    differentiable = True

    def __call__(self, inputs: Inputs) -> Scores:
        first = inputs.values[:, 0, 0, 0]
        return Scores(torch.stack([torch.zeros_like(first), first - 0.5], 1))


class Told(Flip):
    """A goal that is told its judgements, to see what is kept."""

    def judge(self, scores: Scores) -> Judgement:
        first = scores.values[:, 1] + 0.5
        return Judgement(first > 0.7, (first * 4).floor() / 4, torch.zeros(len(first), dtype=torch.bool))


def problem(
    rows: int = 2, threat: str = "pixels-linf:1@gradient", victim: object | None = None, goal: Flip | None = None
) -> Problem:
    inputs, parsed = Inputs(torch.zeros(rows, 1, 1, 2)), Threat.parse(threat)
    goal = goal or Flip(torch.zeros(rows, dtype=torch.int64))
    keys = Keys.of(0, [str(row) for row in range(rows)])
    return Problem(victim or Echo(), pixels(inputs, parsed), goal, parsed, keys)  # type: ignore[arg-type]


def at(*first: float, second: float = 0.0) -> Tensor:
    return torch.tensor([[[[value, second]]] for value in first])


def test_success_counts_before_damage_and_damage_before_loss() -> None:
    told = problem(1, goal=Told(torch.zeros(1, dtype=torch.int64)))
    for value, kept in ((0.1, 0.1), (0.05, 0.1), (0.2, 0.2), (0.6, 0.6), (0.9, 0.9), (0.65, 0.9), (0.95, 0.95)):
        told.evaluate(at(value))
        assert float(told.best.d[0, 0, 0, 0]) == pytest.approx(kept)
    assert bool(told.best.success[0])
    assert int(told.best.asked[0]) == 7
    assert int(told.best.asked_at_success[0]) == 5


def test_an_equal_point_does_not_replace_the_first() -> None:
    attacked = problem(1)
    attacked.evaluate(at(0.2, second=0.1))
    attacked.evaluate(at(0.2, second=0.9))
    assert float(attacked.best.d[0, 0, 0, 1]) == pytest.approx(0.1)


def test_of_repeated_rows_the_best_counts_and_of_equal_ones_the_first() -> None:
    attacked = problem(2)
    view = attacked.take(torch.tensor([1, 0, 1, 1, 0]))
    d = at(0.2, 0.3, 0.4, 0.4, 0.1)
    d[2, 0, 0, 1], d[3, 0, 0, 1] = 0.5, 0.6
    view.evaluate(d)
    assert attacked.best.d[:, 0, 0, 0].tolist() == pytest.approx([0.3, 0.4])
    assert float(attacked.best.d[1, 0, 0, 1]) == 0.5
    assert attacked.best.asked.tolist() == [2, 3]
    assert attacked.ledger.forwards == 5


def test_of_repeated_rows_success_counts_before_damage_and_damage_before_loss() -> None:
    class Known(Flip):
        """Success, damage and loss are the first, second and third pixel."""

        def judge(self, scores: Scores) -> Judgement:
            return Judgement(scores.values[:, 0] > 0, scores.values[:, 1], torch.zeros(len(scores), dtype=torch.bool))

        def loss(self, scores: Scores, name: str, towards: Tensor | None = None) -> Tensor:  # noqa: ARG002
            return scores.values[:, 2]

        def take(self, rows: Tensor) -> Known:
            return Known(self.labels[rows])

    class Pixels(Echo):
        def __call__(self, inputs: Inputs) -> Scores:
            return Scores(inputs.values.flatten(1))

    for candidates, best in (
        ([[0, 0.9, 0.9], [1, 0.1, 0.1]], 1),
        ([[1, 0.2, 0.9], [1, 0.3, 0.1], [0, 0.9, 0.9]], 1),
        ([[0, 0.2, 0.1], [0, 0.2, 0.3], [0, 0.1, 0.9]], 1),
        ([[1, 0.5, 0.5], [1, 0.5, 0.5]], 0),
    ):
        for order in (1, -1):
            offered = torch.tensor(candidates).reshape(-1, 1, 1, 3)
            chosen = offered if order == 1 else offered.flip(0)
            inputs, threat = Inputs(torch.zeros(1, 1, 1, 3)), Threat.parse("pixels-linf:1")
            attacked = Problem(Pixels(), pixels(inputs, threat), Known(torch.tensor([0])), threat, Keys.of(0, ["a"]))
            attacked.take(torch.zeros(len(chosen), dtype=torch.int64)).evaluate(chosen)
            assert torch.equal(attacked.best.d, offered[best : best + 1])


def test_a_row_asks_exactly_as_often_as_its_limit_and_its_neighbours_lose_nothing() -> None:
    attacked = problem(2, "pixels-linf:1@scores<=2")
    attacked.take(torch.tensor([0])).evaluate(at(0.1))
    attacked.evaluate(at(0.1, 0.1))
    with pytest.raises(QueryLimitReached, match="used its 2 queries"):
        attacked.evaluate(at(0.9, 0.9))
    assert attacked.ledger.forwards == 3
    assert attacked.best.asked.tolist() == [2, 1]
    assert not bool(attacked.best.success.any())
    assert attacked.alive().tolist() == [False, True]
    attacked.take(attacked.alive()).evaluate(at(0.9))
    assert attacked.best.success.tolist() == [False, True]


def test_views_of_views_write_to_the_whole_batch() -> None:
    attacked = problem(4)
    view = attacked.take(torch.tensor([False, True, True, True])).take(torch.tensor([2]))
    view.evaluate(at(0.9))
    assert attacked.best.success.tolist() == [False, False, False, True]
    assert attacked.alive().tolist() == [True, True, True, False]
    assert view.alive().tolist() == [False]


def test_what_is_found_is_a_copy() -> None:
    attacked, d = problem(1), at(0.9)
    attacked.evaluate(d)
    d.zero_()
    assert float(attacked.best.d[0, 0, 0, 0]) == pytest.approx(0.9)


def test_a_submission_never_replaces_a_row_that_is_done() -> None:
    attacked = problem(2)
    attacked.evaluate(at(0.9, 0.1))
    attacked.submit(at(0.3, 0.3))
    assert attacked.best.d[:, 0, 0, 0].tolist() == pytest.approx([0.9, 0.3])


@pytest.mark.parametrize("access", ["none", "surrogate"])
def test_without_access_there_is_no_asking(access: str) -> None:
    attacked = problem(threat=f"pixels-linf:1@{access}")
    with pytest.raises(AccessDenied, match="allows no queries"):
        attacked.evaluate(at(0.1, 0.1))
    with pytest.raises(AccessDenied):
        attacked.gradient(at(0.1, 0.1))
    attacked.submit(at(0.1, 0.1))
    assert attacked.ledger.forwards == 0


def test_labels_show_decisions_only_and_scores_no_gradients() -> None:
    outcome = problem(threat="pixels-linf:1@labels").evaluate(at(0.1, 0.9))
    assert outcome.success.tolist() == [False, True]
    assert outcome.loss is None
    assert outcome.scores is None
    scored = problem(threat="pixels-linf:1@scores")
    assert scored.evaluate(at(0.1, 0.9)).loss is not None
    with pytest.raises(AccessDenied, match="allows no gradients"):
        scored.gradient(at(0.1, 0.9))


def test_of_repeated_submissions_the_first_counts_and_of_first_losses_the_highest() -> None:
    attacked = problem(2)
    view = attacked.take(torch.tensor([1, 0, 1]))
    view.submit(at(0.2, 0.3, 0.4))
    assert attacked.best.d[:, 0, 0, 0].tolist() == pytest.approx([0.3, 0.2])
    view.evaluate(at(0.1, 0.2, 0.3), "margin")
    view.evaluate(at(0.4, 0.4, 0.4), "margin")
    assert attacked.best.first_loss.tolist() == pytest.approx([-0.3, -0.2])
    assert attacked.best.top_loss.tolist() == pytest.approx([-0.1, -0.1])


def test_a_victim_that_hides_its_gradient_does_not_fit_and_one_that_ignores_its_input_has_none() -> None:
    class Detached(Echo):
        def __call__(self, inputs: Inputs) -> Scores:
            return Scores(super().__call__(inputs).values.detach())

    with pytest.raises(NotApplicable, match="no gradient of the victim's scores reaches its input"):
        problem(victim=Detached()).gradient(at(0.1, 0.1))

    class Deaf(Echo):
        bias = torch.zeros(2, requires_grad=True)

        def __call__(self, inputs: Inputs) -> Scores:
            return Scores(self.bias.expand(len(inputs), 2))

    deaf = problem(victim=Deaf())
    assert bool((deaf.gradient(at(0.1, 0.1)).values == 0).all())
    assert deaf.best.zero_gradients.tolist() == [1, 1]


def test_a_broken_row_leaves_its_neighbours_alone() -> None:
    class Half(Echo):
        def __call__(self, inputs: Inputs) -> Scores:
            values = super().__call__(inputs).values
            return Scores(values * torch.where(inputs.values[:, 0, 0, :1] > 0.5, torch.nan, 1.0))

    found = problem(victim=Half()).gradient(at(0.9, 0.1))
    assert found.values[0].abs().sum() == 0
    assert found.values[1].abs().sum() > 0


class NotANumber(Echo):
    def __call__(self, inputs: Inputs) -> Scores:
        return Scores(super().__call__(inputs).values * torch.tensor([1.0, torch.nan]))


def test_nan_scores_and_gradients_are_counted_and_never_a_success() -> None:
    attacked = problem(victim=NotANumber())
    found = attacked.gradient(at(0.9, 0.9))
    assert not bool(attacked.best.success.any())
    assert bool((found.values == 0).all())
    assert attacked.best.broken_gradients.tolist() == [1, 1]
    assert bool(torch.isfinite(attacked.best.d).all())


def test_a_victim_without_gradients_does_not_fit() -> None:
    class Opaque(Echo):
        differentiable = False

    with pytest.raises(NotApplicable, match="not differentiable"):
        problem(victim=Opaque()).gradient(at(0.1, 0.1))


def test_gains_need_words() -> None:
    with pytest.raises(NotApplicable, match="word candidates"):
        problem().gains(at(0.1, 0.1))


def test_a_target_that_is_the_label_is_refused() -> None:
    with pytest.raises(InvalidOption, match="target 1 of row 1 is its label"):
        Flip(torch.tensor([0, 1]), torch.tensor([1, 1]))
    targeted = Flip(torch.tensor([0]), torch.tensor([1]))
    assert targeted.judge(Scores(torch.tensor([[0.0, 1.0, 0.5]]))).success.tolist() == [True]
    assert targeted.judge(Scores(torch.tensor([[0.0, 0.2, 0.5]]))).success.tolist() == [False]


def test_an_unknown_loss_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'margin'"):
        problem().evaluate(at(0.1, 0.1), "margins")


def test_the_deadline_is_seen_before_a_forward() -> None:
    attacked = problem()
    attacked.ledger = Ledger(deadline=time.monotonic() - 1)
    with pytest.raises(DeadlineReached, match="--timeout"):
        attacked.evaluate(at(0.1, 0.1))
    assert attacked.ledger.forwards == 0
