"""What each entry gains in robust quality and pays in clean quality against one of them, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

import msgspec

from leaderboard.scoring.rows import TaskLine
from leaderboard.scoring.standings import BoardSamples
from leaderboard.scoring.statistics import Difference, difference


BASELINE: Final = "undefended"

Effect = Literal["helps", "hurts", "not separable", "no result"]
_EFFECTS: Final[dict[int, Effect]] = {1: "helps", -1: "hurts", 0: "not separable"}


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry against the baseline on one task, in quality under the ranking threat; above 0 is better.

    robust, clean: paired example by example, None where one side has no number that may be compared; reason then says
    why.
    """

    task: str
    effect: Effect
    robust: Difference | None
    clean: Difference | None
    reason: str = ""


class EntryComparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry against the baseline on every task, and the sentence that it adds up to."""

    entry: str
    changes: tuple[Change, ...]
    summary: str


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Entries against the baseline; has_baseline: whether the board holds the baseline at all."""

    suite: str
    baseline: str
    has_baseline: bool
    tasks: tuple[str, ...]
    entries: tuple[EntryComparison, ...]


def compare(
    suite: str,
    lines: Mapping[str, Sequence[TaskLine]],
    samples: BoardSamples,
    baseline: str = BASELINE,
    entries: Sequence[str] | None = None,
) -> Comparison:
    """Pairs entries with the baseline, example by example.

    lines: a board's entries by task. samples: at least of the entries that are compared. entries: which, in this order;
    all of them by name where None.
    """
    by_entry = {task: {line.entry: line for line in here} for task, here in lines.items()}
    if entries is None:
        entries = sorted({entry for here in by_entry.values() for entry in here})
    found = []
    for entry in entries:
        if entry != baseline:
            changes = tuple(
                _change(task, here.get(entry), here.get(baseline), baseline, samples) for task, here in by_entry.items()
            )
            found.append(EntryComparison(entry, changes, summarise(changes)))
    has_baseline = any(baseline in here for here in by_entry.values())
    return Comparison(suite, baseline, has_baseline, tuple(by_entry), tuple(found))


def summarise(changes: Sequence[Change]) -> str:
    """One line: `helps everywhere`, `helps only in TASK; hurts in ANOTHER`, and so on."""
    places = {effect: [one.task for one in changes if one.effect == effect] for effect in get_args(Effect)}
    compared = len(changes) - len(places["no result"])
    if not compared:
        return "nothing to compare"
    parts = []
    for effect in ("helps", "hurts"):
        if len(places[effect]) == compared:
            partial = f"in every task compared ({compared} of {len(changes)})"
            parts.append(f"{effect} {'everywhere' if compared == len(changes) else partial}")
        elif places[effect]:
            only = " only" if effect == "helps" else ""
            parts.append(f"{effect}{only} in {', '.join(places[effect])}")
    if not parts:
        parts.append("not separable anywhere")
    if places["no result"] and not any("every task" in part for part in parts):
        parts.append(f"no result in {', '.join(places['no result'])}")
    return "; ".join(parts)


def _change(task: str, one: TaskLine | None, other: TaskLine | None, baseline: str, samples: BoardSamples) -> Change:
    if one is None or other is None:
        reason = "not measured" if one is None else f"{baseline} was not measured"
        return Change(task, "no result", None, None, reason)
    usual, robust = samples.clean.get(task, {}), samples.robust.get(task, {})
    clean = None
    if one.entry in usual and baseline in usual:
        clean = difference([usual[one.entry]], [usual[baseline]])
    if one.entry not in robust:
        return Change(task, "no result", None, clean, one.unranked)
    if baseline not in robust:
        return Change(task, "no result", None, clean, f"{baseline}: {other.unranked}")
    gained = difference([robust[one.entry]], [robust[baseline]])
    return Change(task, _EFFECTS[gained.separable], gained, clean)
