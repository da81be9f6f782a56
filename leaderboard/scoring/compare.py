"""Defense by domain: what each entry gains in robust quality and pays in clean quality against the undefended
one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
from rich.table import Table
from rich.text import Text

from leaderboard.printing import wording
from leaderboard.printing.table import name, split_name, styled_table
from leaderboard.records.plan import JournalEntry, Plan
from leaderboard.records.record import Result
from leaderboard.scoring.board import ranked_sample, ranking_threat
from leaderboard.scoring.scores import TaskScore, score
from leaderboard.scoring.statistics import Difference, difference


BASELINE: Final = "undefended"

Effect = Literal["helps", "hurts", "not separable", "no result"]
_COLOURS: Final = {"helps": "green", "hurts": "red", "not separable": "dim", "no result": "dim"}


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry against the baseline on one task, in quality under the ranking threat; above 0 is better.

    robust, clean: None where one side has no number that may be compared; reason then says why.
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
    """Every entry but the baseline, by name; has_baseline: whether the plan holds the baseline at all."""

    suite: str
    baseline: str
    has_baseline: bool
    tasks: tuple[str, ...]
    entries: tuple[EntryComparison, ...]


def compare(
    plan: Plan,
    results: Mapping[str, Result],
    journal: Mapping[str, JournalEntry],
    *,
    baseline: str = BASELINE,
) -> Comparison:
    """Pairs every entry with the baseline, example by example. Raises ResultError as build_board does."""
    scores = {(one.task, one.entry): one for one in score(plan, results, journal)}
    tasks = tuple(sorted({task for task, _ in scores}))
    threats = {task: ranking_threat(plan, task) for task in tasks}
    entries = []
    for entry in sorted({entry for _, entry in scores} - {baseline}):
        changes = tuple(
            _change(task, threats[task], scores.get((task, entry)), scores.get((task, baseline)), baseline)
            for task in tasks
        )
        entries.append(EntryComparison(entry, changes, summarise(changes)))
    has_baseline = any(entry == baseline for _, entry in scores)
    return Comparison(plan.suite, baseline, has_baseline, tasks, tuple(entries))


def summarise(changes: Sequence[Change]) -> str:
    """One line: `helps everywhere`, `helps only in image-digits; hurts in control-cartpole`, and so on."""
    places = {effect: [one.task for one in changes if one.effect == effect] for effect in _COLOURS}
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


def render_comparison(comparison: Comparison) -> Table:
    """One row an entry, one column a task: the effect, the gain in robust quality and the change of the clean
    one.
    """
    note = "robust quality gained, its 95% interval, and the change of the clean quality"
    if not comparison.has_baseline:
        note = f"the plan holds no entry {comparison.baseline!r}: there is nothing to compare with"
    table = styled_table(f"{comparison.suite}: each entry against {comparison.baseline}", note)
    table.add_column("entry", overflow="fold")
    for task in comparison.tasks:
        table.add_column(Text(split_name(task)), overflow="fold")
    table.add_column("overall", overflow="fold")
    for entry in comparison.entries:
        cells = [_cell(change) for change in entry.changes]
        table.add_row(name(entry.entry, "bold"), *cells, name(entry.summary), end_section=True)
    return table


def _change(task: str, threat: str, one: TaskScore | None, other: TaskScore | None, baseline: str) -> Change:
    if one is None or other is None:
        reason = "not measured" if one is None else f"{baseline} was not measured"
        return Change(task, "no result", None, None, reason)
    clean = None
    if one.clean is not None and other.clean is not None:
        clean = difference([one.clean.sample], [other.clean.sample])
    mine, theirs = ranked_sample(one, threat), ranked_sample(other, threat)
    if mine is None:
        return Change(task, "no result", None, clean, one.unranked(threat))
    if theirs is None:
        return Change(task, "no result", None, clean, f"{baseline}: {other.unranked(threat)}")
    robust = difference([mine], [theirs])
    effects: dict[int, Effect] = {1: "helps", -1: "hurts", 0: "not separable"}
    return Change(task, effects[robust.separable], robust, clean)


def _cell(change: Change) -> Text:
    text = Text(change.effect, style=_COLOURS[change.effect])
    if change.robust is not None:
        gain = f"\n{change.robust.estimate:+.2f}\n{wording.signed_interval(change.robust.interval)}"
        text.append(gain, style="default")
    if change.clean is not None:
        text.append(f"\nclean {change.clean.estimate:+.2f}", style="dim")
    if change.reason:
        text.append(f"\n{wording.printable(change.reason)}", style="dim")
    return text
