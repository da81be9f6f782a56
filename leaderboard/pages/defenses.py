"""The page of defenses by domain: what each entry gains and pays against the undefended one."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.pages.board import menu_of
from leaderboard.pages.layout import TABLES, render
from leaderboard.pages.links import Links, file_key
from leaderboard.scoring.compare import Comparison


def render_defenses(
    comparison: Comparison,
    links: Links,
    *,
    others: Sequence[tuple[str, str]] = (),
    earlier: str = "",
    later: str = "",
) -> str:
    """Entries by tasks. others: entries that the same page may show the differences to, with its address then.

    earlier, later: addresses of the pages before and after.
    """
    return render(
        "defenses.html",
        "Defenses by domain",
        comparison.suite,
        links,
        here="defenses",
        menu=menu_of(comparison.tasks),
        scripts=[TABLES],
        comparison=comparison,
        keys={one.entry: file_key(one.entry) for one in comparison.entries},
        others=others,
        earlier=earlier,
        later=later,
    )
