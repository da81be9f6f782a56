"""Defenses by domain on a published board: what each entry gains and pays against one of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from leaderboard.database.boards import Across, Line, PublicBoard, Value
from leaderboard.scoring.compare import BASELINE, Change, Comparison, Effect, EntryComparison, summarise
from leaderboard.scoring.statistics import Difference, Interval, Sample, difference
from leaderboard.server.state import ServerState
from leaderboard.server.stored import samples


UNDEFENDED: Final = "none"  # as a manifest says that an entry has no defense

_EFFECTS: Final[dict[int, Effect]] = {1: "helps", -1: "hurts", 0: "not separable"}


def compare_served(state: ServerState, board: PublicBoard, baseline: str, shown: Sequence[Across]) -> Comparison:
    """Some entries of a board against one.

    Robust qualities are paired example by example. Of clean passes a board keeps the figures alone, so the interval of
    their difference is not paired.
    """
    wanted = {one.entry for one in shown} | {baseline}
    lines = {task: {line.entry: line for line in found if line.entry in wanted} for task, found in board.tasks.items()}
    known = samples(state, [line for found in lines.values() for line in found.values()])
    entries = []
    for one in shown:
        if one.entry == baseline:
            continue
        changes = tuple(
            _change(task, found.get(one.entry), found.get(baseline), baseline, known) for task, found in lines.items()
        )
        entries.append(EntryComparison(one.entry, changes, summarise(changes)))
    has_baseline = any(baseline in found for found in lines.values())
    return Comparison(board.suite, baseline, has_baseline, tuple(board.tasks), tuple(entries))


def usual_baseline(board: PublicBoard) -> str:
    """What entries are compared with where nobody chose: empty where every entry has a defense.

    The entry named `undefended`, which submitters do not have. Else, of those that state no defense and are on most
    tasks, the least robust whose clean quality may be the best, so that a model that is merely broken is none.
    """
    if any(one.entry == BASELINE for one in board.across):
        return BASELINE
    defended = {line.entry for lines in board.tasks.values() for line in lines if line.defense != UNDEFENDED}
    plain = [one for one in board.across if one.entry not in defended]
    most = max((len(one.tasks) for one in plain), default=0)
    plain = [one for one in plain if len(one.tasks) == most]
    best = max((one.clean for one in plain if one.clean is not None), default=None)
    usable = [one for one in plain if best is None or (one.clean_interval and one.clean_interval.high >= best)]
    return min(usable, key=lambda one: math.inf if one.robust is None else one.robust).entry if usable else ""


def unpaired(one: Value, other: Value) -> Difference:
    """The difference of two qualities from their own intervals (Zou and Donner 2008, doi:10.1002/sim.3095). Of
    outcomes of the same examples, which agree more often than not, it is wider than a paired one.
    """
    estimate = one.quality - other.quality
    mine, theirs = one.quality_interval, other.quality_interval
    below = math.hypot(one.quality - mine.low, theirs.high - other.quality)
    above = math.hypot(mine.high - one.quality, other.quality - theirs.low)
    return Difference(estimate, Interval(max(-1.0, estimate - below), min(1.0, estimate + above)), 0)


def _change(task: str, one: Line | None, other: Line | None, baseline: str, known: dict[str, Sample]) -> Change:
    if one is None or other is None:
        reason = "not measured" if one is None else f"{baseline} was not measured"
        return Change(task, "no result", None, None, reason)
    clean = unpaired(one.clean, other.clean) if one.clean is not None and other.clean is not None else None
    mine, theirs = known.get(one.id), known.get(other.id)
    if mine is None:
        return Change(task, "no result", None, clean, one.unranked)
    if theirs is None:
        return Change(task, "no result", None, clean, f"{baseline}: {other.unranked}")
    robust = difference([mine], [theirs])
    return Change(task, _EFFECTS[robust.separable], robust, clean)
