"""Intervals against known values, their coverage, and ranks that follow only the evidence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import ACCURACY, CONTROL, IMAGE, RETURN, SPEECH, WORD_ERROR_RATE, examples, first

from leaderboard.records.metric import Metric
from leaderboard.records.record import Examples
from leaderboard.scoring.statistics import (
    Interval,
    RankInterval,
    Sample,
    difference,
    mean_interval,
    metric_interval,
    quality_interval,
    rank_intervals,
    ratio_interval,
    sample,
    wilson,
)


METRICS = {IMAGE: ACCURACY, SPEECH: WORD_ERROR_RATE, CONTROL: RETURN}


def of(task: str, values: list[float]) -> Sample:
    return sample(task, METRICS[task], examples(task, values))


def test_wilson_against_a_published_value() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe 1998, table I, method 3)."""
    found = wilson(81, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 10).low == 0.0
    assert wilson(10, 10).high == 1.0


def test_outcomes_of_zero_and_one_take_wilson() -> None:
    assert metric_interval(of(IMAGE, first(30))) == wilson(30, 40)


def test_the_interval_of_an_error_rate_is_that_of_its_ratio() -> None:
    """Long references count more: the figure is errors over words, not the mean of rates."""
    found = sample(SPEECH, WORD_ERROR_RATE, Examples(("a", "b"), (9.0, 0.0), (9.0, 1.0), (0.0, 0.0)))
    assert found.figure == pytest.approx(0.9)
    assert metric_interval(found) == Interval(0.0, 1.0)


def test_the_quality_interval_turns_with_the_metric() -> None:
    outcome = of(SPEECH, first(20, good=0, bad=2))
    errors, quality = metric_interval(outcome), quality_interval(outcome)
    assert quality.low == pytest.approx(1 - errors.high)
    assert quality.low < outcome.quality < quality.high


def test_bootstrap_intervals_cover_the_truth() -> None:
    generator = np.random.default_rng(0)
    names = tuple(f"e{index}" for index in range(60))
    covered = 0
    for _ in range(150):
        values = generator.exponential(100.0, size=60)
        found = metric_interval(Sample(CONTROL, RETURN, names, values, np.ones(60)))
        covered += found.low <= 100.0 <= found.high
    assert 0.87 <= covered / 150 <= 0.99


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_examples_never_matters(errors: list[int], random) -> None:
    straight = examples(SPEECH, [float(number) for number in errors])
    order = list(range(len(errors)))
    random.shuffle(order)
    shuffled = Examples(
        *(tuple(column[row] for row in order) for column in (straight.ids, straight.values)),
        straight.weights,
        straight.distances,
    )
    one, other = (sample(SPEECH, WORD_ERROR_RATE, found) for found in (straight, shuffled))
    assert metric_interval(one) == metric_interval(other)
    assert difference([one], [other]).interval == Interval(0.0, 0.0)


def test_a_difference_is_paired() -> None:
    """Both vary widely between examples, yet one is always 15 ahead: pairing sees it, the intervals overlap."""
    returns = [float(100 + 40 * (index % 9)) for index in range(40)]
    low, high = of(CONTROL, returns), of(CONTROL, [value + 15 for value in returns])
    assert quality_interval(low).high > quality_interval(high).low
    found = difference([high], [low])
    assert found.separable == 1
    assert found.estimate == pytest.approx(15 / 480)
    assert difference([low], [high]).separable == -1


def test_a_few_differing_examples_prove_nothing() -> None:
    assert difference([of(IMAGE, first(5, 5))], [of(IMAGE, first(0, 5))]).separable == 0
    assert difference([of(IMAGE, first(6, 6))], [of(IMAGE, first(0, 6))]).separable == 1


def test_only_common_examples_are_compared() -> None:
    ids = tuple(f"e{index:03}" for index in range(20, 60))
    other = sample(IMAGE, ACCURACY, Examples(ids, (0.0,) * 40, (1.0,) * 40, (0.0,) * 40))
    found = difference([of(IMAGE, first(20))], [other])
    assert found.estimate == 0.0
    apart = sample(IMAGE, ACCURACY, Examples(("z",), (0.0,), (1.0,), (0.0,)))
    nothing = difference([of(IMAGE, first(40))], [apart])
    assert (nothing.interval, nothing.separable) == (Interval(-1.0, 1.0), 0)


def test_a_difference_needs_the_same_tasks() -> None:
    with pytest.raises(ValueError, match="same tasks"):
        difference([of(IMAGE, first(1))], [of(SPEECH, first(1))])


def test_ties_share_ranks_and_gaps_stay() -> None:
    entries = {
        "good": [of(IMAGE, first(36))],
        "also good": [of(IMAGE, first(35))],
        "bad": [of(IMAGE, first(6))],
    }
    expected = {"good": RankInterval(1, 2), "also good": RankInterval(1, 2), "bad": RankInterval(3, 3)}
    assert rank_intervals(entries) == expected
    assert rank_intervals(dict(reversed(entries.items()))) == expected
    assert rank_intervals({}) == {}


def test_ranks_over_tasks_follow_the_mean() -> None:
    strong = [of(IMAGE, first(30)), of(SPEECH, first(30, good=0, bad=4))]
    weak = [of(IMAGE, first(28)), of(SPEECH, first(2, good=0, bad=4))]
    assert rank_intervals({"weak": weak, "strong": strong}) == {
        "weak": RankInterval(2, 2),
        "strong": RankInterval(1, 1),
    }


def test_the_interval_of_a_mean_stays_inside_and_is_narrower() -> None:
    found = mean_interval([0.5, 0.7], [Interval(0.4, 0.6), Interval(0.6, 0.8)])
    assert found.low == pytest.approx(0.6 - 0.1 / np.sqrt(2))
    assert found.high == pytest.approx(0.6 + 0.1 / np.sqrt(2))
    zero = mean_interval([0.0, 0.0], [wilson(0, 40)] * 2)
    assert zero.low == 0.0 < zero.high


def test_the_interval_of_a_ratio_is_paired() -> None:
    clean, robust = of(IMAGE, first(40)), of(IMAGE, first(20))
    found = ratio_interval(robust, clean)
    assert found is not None
    assert found.low < 0.5 < found.high
    assert ratio_interval(clean, of(IMAGE, first(0))) is None
    assert ratio_interval(clean, of(IMAGE, first(3, 5))) is None


def test_an_empty_reference_does_not_divide_by_zero() -> None:
    found = sample(SPEECH, Metric("rate", 1.0, 0.0), Examples(("a", "b"), (1.0, 1.0), (0.0, 4.0), (0.0, 0.0)))
    interval = metric_interval(found)
    assert np.isfinite([interval.low, interval.high]).all()
