"""Curves of robust quality from recorded cells: against shares of a threat's budget, and against what attacks spent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from leaderboard.records.record import BUDGET_PREFIX
from leaderboard.scoring.samples import worst_case
from leaderboard.scoring.statistics import Sample


def shares_of(outcome: Sample) -> dict[float, str]:
    """The budgets that a cell recorded, and their columns."""
    return {float(name.removeprefix(BUDGET_PREFIX)): name for name in outcome.columns if name.startswith(BUDGET_PREFIX)}


def budget_curve(clean: Sample, attacks: Mapping[str, Sample]) -> tuple[tuple[float, Sample], ...]:
    """The worst case per example at each recorded share, from 0, which is the clean pass; empty where none is.

    A success at a smaller budget counts at a larger one. From a share of 1 on the attacks without a curve count, too:
    so the point at 1 is the threat's robust quality.
    """
    recorded = sorted({share for one in attacks.values() for share in shares_of(one)} - {0.0})
    if not recorded:
        return ()
    points = [(0.0, clean)]
    for share in sorted({*recorded, 1.0}):
        here = []
        for one in attacks.values():
            columns = shares_of(one)
            here += [replace(one, values=one.columns[name]) for at, name in columns.items() if at <= share]
            here += [one] if share >= 1 else []
        points.append((share, worst_case(clean, here)))
    return tuple(points)


def cost_curve(clean: Sample, attacks: Iterable[tuple[float, str, Sample]]) -> tuple[tuple[str, Sample], ...]:
    """The worst case per example over the attacks that cost no more, by rising cost; attacks: cost, name, outcome.

    What costs the same counts together. So the last point is the worst case over all of them.
    """
    ordered = sorted(attacks, key=lambda one: one[:2])
    found = []
    for cost, name, _ in ordered:
        found.append((name, worst_case(clean, [other for at, _, other in ordered if at <= cost])))
    return tuple(found)
