"""Per-example outcomes of records, and the worst case over several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.records.canonical import ResultError
from leaderboard.records.record import Result
from leaderboard.scoring.statistics import Sample, Values, sample


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """Per-example outcomes, and the task's further columns, all sorted by example id."""

    sample: Sample
    columns: dict[str, Values]


def outcome(result: Result) -> Outcome:
    """The outcome of one record. Raises ResultError for a record without one."""
    if result.metric is None or result.examples is None:
        raise ResultError(f"cell {result.id[:12]} is {result.status} and has no outcome")
    examples = result.examples
    order = sorted(range(len(examples.ids)), key=examples.ids.__getitem__)
    columns = {name: np.array(column)[order] for name, column in examples.columns.items()}
    return Outcome(sample(result.cell.task, result.metric, examples), columns)


def mismatch(clean: Sample, attacked: Sample) -> str:
    """Why two outcomes are not of the same examples; empty where they are."""
    if clean.ids != attacked.ids:
        shared = len(set(clean.ids) & set(attacked.ids))
        return f"covers {shared} of the {len(clean.ids)} clean examples"
    if not np.array_equal(clean.weights, attacked.weights):
        return "its weights are not those of the clean pass"
    return ""


def mean_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """The mean per example of several outcomes of the same examples."""
    first = outcomes[0]
    if len(outcomes) == 1:
        return first
    values = np.mean([one.sample.values for one in outcomes], axis=0)
    columns = {name: np.mean([one.columns[name] for one in outcomes], axis=0) for name in first.columns}
    base = first.sample
    return Outcome(Sample(base.task, base.metric, base.ids, values, base.weights), columns)


def worst_case(clean: Outcome, attacks: Sequence[Outcome]) -> Outcome:
    """Per example the worst of the clean outcome and every attack on the same examples.

    Worst is the lower value where higher is better and the higher value where lower is better; weights are
    those of the examples, so worse values make a worse ratio. The further columns follow the outcome that was
    worst, the earlier one where two are equal.
    """
    base = clean.sample
    everything = [clean, *attacks]
    values = np.stack([one.sample.values for one in everything])
    worst = values.argmin(axis=0) if base.metric.higher_is_better else values.argmax(axis=0)
    rows = np.arange(len(base.ids))
    columns = {
        name: np.stack([one.columns[name] for one in everything])[worst, rows]
        for name in sorted(clean.columns)
        if all(name in one.columns for one in everything)
    }
    return Outcome(Sample(base.task, base.metric, base.ids, values[worst, rows], base.weights), columns)
