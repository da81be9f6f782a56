"""95% intervals, paired differences and rank intervals over examples.

The resamples of a task are drawn from a seed that is the hash of the task and its example ids. So entries
that were measured on the same examples share their resamples, which makes every comparison paired, and no
figure depends on the time, the machine or the order in which results came in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from leaderboard.records.metric import Metric
from leaderboard.records.record import Examples


Values = NDArray[np.float64]

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2000
# Under the null hypothesis each differing example favours either side alike, so k of them reach a two-sided
# p-value of 2 / 2**k at best: below six, no evidence at the 5% level is possible, whatever the bootstrap
# says.
FEWEST_DIFFERING: Final = 6
_ROUNDING: Final = 1e-12


class Interval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A 95% interval, low <= high, in the unit of its figure."""

    low: float
    high: float


class RankInterval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The ranks that the evidence allows, 1 the best. Entries that are not separable share ranks."""

    best: int
    worst: int


class Difference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First quality minus second, with its paired interval; separable: 1 better, -1 worse, 0 neither."""

    estimate: float
    interval: Interval
    separable: int


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Per-example outcomes of one entry on one task, sorted by id; hashed by identity, for caches.

    columns: the further numbers of the record's examples, by their name.
    """

    task: str
    metric: Metric
    ids: tuple[str, ...]
    values: Values
    weights: Values
    columns: Mapping[str, Values] = field(default_factory=dict)

    @property
    def figure(self) -> float:
        """The metric: sum of the values over sum of the weights."""
        return float(self.values.sum() / self.weights.sum())

    @property
    def quality(self) -> float:
        """The metric mapped to [0, 1]."""
        return self.metric.quality(self.figure)

    def restrict(self, ids: tuple[str, ...]) -> Sample:
        """The same outcomes on some of the examples, without further columns; ids are sorted."""
        if ids == self.ids:
            return self
        wanted = set(ids)
        rows = np.array([row for row, name in enumerate(self.ids) if name in wanted], dtype=np.intp)
        return Sample(self.task, self.metric, ids, self.values[rows], self.weights[rows])


def sample(task: str, metric: Metric, examples: Examples) -> Sample:
    """Sorts the examples by id."""
    order = sorted(range(len(examples.ids)), key=examples.ids.__getitem__)
    ids = tuple(examples.ids[row] for row in order)
    columns = {name: np.array(column)[order] for name, column in examples.columns.items()}
    return Sample(task, metric, ids, np.array(examples.values)[order], np.array(examples.weights)[order], columns)


@lru_cache(maxsize=4096)
def wilson(successes: int, trials: int) -> Interval:
    """Wilson's score interval of a proportion, in [0, 1]."""
    from scipy.stats import binomtest

    found = binomtest(successes, trials).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return Interval(float(found.low), float(found.high))


def metric_interval(outcome: Sample) -> Interval:
    """Wilson for outcomes 0 or 1 of weight 1, else the percentile bootstrap of the ratio."""
    if np.all(outcome.weights == 1) and np.all((outcome.values == 0) | (outcome.values == 1)):
        return wilson(int(outcome.values.sum()), len(outcome.ids))
    return _percentiles(_metric_draws(outcome))


def quality_interval(outcome: Sample) -> Interval:
    """The interval of the metric mapped to [0, 1]."""
    found = metric_interval(outcome)
    low, high = sorted((outcome.metric.quality(found.low), outcome.metric.quality(found.high)))
    return Interval(low, high)


def mean_interval(estimates: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Interval of the mean of independent estimates from their own intervals (MOVER, Zou and Donner 2008).

    Unlike a bootstrap it stays wide where every outcome is the same.
    """
    centers = np.array(estimates)
    below = centers - np.array([interval.low for interval in intervals])
    above = np.array([interval.high for interval in intervals]) - centers
    count = len(estimates)
    mean = float(centers.mean())
    return Interval(mean - float(np.sqrt((below**2).sum())) / count, mean + float(np.sqrt((above**2).sum())) / count)


def ratio_interval(numerator: Sample, denominator: Sample) -> Interval | None:
    """Paired bootstrap of a ratio of two qualities; None if the denominator may be 0."""
    if numerator.ids != denominator.ids:
        return None
    above, below = quality_draws(numerator), quality_draws(denominator)
    return None if np.any(below == 0) else _percentiles(above / below)


def difference(first: Sequence[Sample], second: Sequence[Sample]) -> Difference:
    """Mean quality over tasks of the first minus the second, paired over the examples that both have.

    The two sequences name the same tasks in the same order. Raises ValueError where they do not. Where some
    task has no example in common, nothing can be told: the interval is [-1, 1].
    """
    if not first or [outcome.task for outcome in first] != [outcome.task for outcome in second]:
        raise ValueError("difference: expected outcomes of the same tasks in the same order")
    pairs = [_paired(one, other) for one, other in zip(first, second, strict=True)]
    if any(not one.ids or one.weights.sum() <= 0 or other.weights.sum() <= 0 for one, other in pairs):
        estimate = _mean([one.quality - other.quality for one, other in zip(first, second, strict=True)])
        return Difference(estimate, Interval(-1.0, 1.0), 0)
    estimate = _mean([one.quality - other.quality for one, other in pairs])
    draws = np.mean([quality_draws(one) - quality_draws(other) for one, other in pairs], axis=0)
    interval = _percentiles(draws)
    differing = sum(int(np.count_nonzero(one.values != other.values)) for one, other in pairs)
    if differing < FEWEST_DIFFERING:
        return Difference(estimate, interval, 0)
    separable = 1 if interval.low > _ROUNDING else -1 if interval.high < -_ROUNDING else 0
    return Difference(estimate, interval, separable)


def rank_intervals(entries: Mapping[str, Sequence[Sample]]) -> dict[str, RankInterval]:
    """Best rank: 1 + the number of separably better entries. Worst: all less those separably worse."""
    names = sorted(entries)
    better = dict.fromkeys(names, 0)
    worse = dict.fromkeys(names, 0)
    for position, one in enumerate(names):
        for other in names[position + 1 :]:
            match difference(entries[one], entries[other]).separable:
                case 1:
                    better[other] += 1
                    worse[one] += 1
                case -1:
                    better[one] += 1
                    worse[other] += 1
    return {name: RankInterval(1 + better[name], len(names) - worse[name]) for name in names}


@lru_cache(maxsize=1024)
def quality_draws(outcome: Sample) -> Values:
    """Quality of each resample, in [0, 1]; shape (RESAMPLES,)."""
    metric = outcome.metric
    scaled = (_metric_draws(outcome) - metric.floor) / (metric.ceiling - metric.floor)
    return np.clip(scaled, 0.0, 1.0)


def _metric_draws(outcome: Sample) -> Values:
    columns = np.stack([outcome.values, outcome.weights], axis=1)
    counts = _counts(outcome.task, outcome.ids)
    rows = max(1, 2_000_000 // len(outcome.ids))  # the counts are widened to float64 a slice at a time
    sums: Values = np.concatenate(
        [counts[at : at + rows].astype(np.float64) @ columns for at in range(0, RESAMPLES, rows)]
    )
    # A resample of nothing but empty references has no ratio of its own.
    draws = np.full(RESAMPLES, outcome.figure)
    np.divide(sums[:, 0], sums[:, 1], out=draws, where=sums[:, 1] > 0)
    return draws


@lru_cache(maxsize=8)
def _counts(task: str, ids: tuple[str, ...]) -> NDArray[np.uint16]:
    """How often each resample holds each example; shape (RESAMPLES, examples)."""
    seed = hashlib.sha256(json.dumps([task, ids]).encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed)))
    counts = np.empty((RESAMPLES, len(ids)), dtype=np.uint16)
    for row in counts:
        row[:] = np.bincount(generator.integers(0, len(ids), size=len(ids)), minlength=len(ids))
    return counts


def _paired(one: Sample, other: Sample) -> tuple[Sample, Sample]:
    if one.ids == other.ids:
        return one, other
    common = tuple(sorted(set(one.ids) & set(other.ids)))
    return one.restrict(common), other.restrict(common)


def _percentiles(draws: NDArray[Any]) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
