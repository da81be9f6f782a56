"""The comparison of entries in a terminal: one row an entry, one column a task."""

from __future__ import annotations

from typing import Final

from rich.table import Table
from rich.text import Text

from leaderboard.printing import wording
from leaderboard.printing.table import name, split_name, styled_table
from leaderboard.scoring.compare import Change, Comparison


_COLOURS: Final = {"helps": "green", "hurts": "red", "not separable": "dim", "no result": "dim"}


def render_comparison(comparison: Comparison) -> Table:
    """The effect, the gain in robust quality and the change of the clean one, entry by entry and task by task."""
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
