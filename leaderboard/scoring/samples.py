"""Per-example outcomes of records, and the worst case over several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from leaderboard.records.canonical import ResultError
from leaderboard.records.record import Result
from leaderboard.scoring.statistics import Sample, sample


def sample_of(result: Result) -> Sample:
    """The outcomes of one record. Raises ResultError for a record without any."""
    if result.metric is None or result.examples is None:
        raise ResultError(f"cell {result.id[:12]} is {result.status} and has no outcome")
    return sample(result.cell.task, result.metric, result.examples)


def mismatch(clean: Sample, attacked: Sample) -> str:
    """Why two outcomes are not of the same examples; empty where they are."""
    if clean.ids != attacked.ids:
        shared = len(set(clean.ids) & set(attacked.ids))
        return f"covers {shared} of the {len(clean.ids)} clean examples"
    if not np.array_equal(clean.weights, attacked.weights):
        return "its weights are not those of the clean pass"
    return ""


def mean_sample(outcomes: Sequence[Sample]) -> Sample:
    """The mean per example of several outcomes of the same examples."""
    first = outcomes[0]
    if len(outcomes) == 1:
        return first
    values = np.mean([one.values for one in outcomes], axis=0)
    columns = {name: np.mean([one.columns[name] for one in outcomes], axis=0) for name in first.columns}
    return replace(first, values=values, columns=columns)


def worst_case(clean: Sample, attacks: Sequence[Sample]) -> Sample:
    """Per example the worst of the clean outcome and every attack on the same examples.

    Worst is the lower value where higher is better and the higher value where lower is better; weights are
    those of the examples, so worse values make a worse ratio. The further columns follow the outcome that was
    worst, the earlier one where two are equal.
    """
    everything = [clean, *attacks]
    values = np.stack([one.values for one in everything])
    worst = values.argmin(axis=0) if clean.metric.higher_is_better else values.argmax(axis=0)
    rows = np.arange(len(clean.ids))
    columns = {
        name: np.stack([one.columns[name] for one in everything])[worst, rows]
        for name in sorted(clean.columns)
        if all(name in one.columns for one in everything)
    }
    return replace(clean, values=values[worst, rows], columns=columns)
