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
    keys: dict[str, str] | None = None,
    others: Sequence[tuple[str, str]] = (),
    clean_paired: bool = True,
    earlier: str = "",
    later: str = "",
) -> str:
    """Entries by tasks. keys: what links to an entry, by its name; a static site's own where it is not given.

    others: entries that the same page may show the differences to, with its address then. clean_paired: whether the
    intervals of clean differences are paired. earlier, later: addresses of the pages before and after.
    """
    known = keys if keys is not None else {one.entry: file_key(one.entry) for one in comparison.entries}
    return render(
        "defenses.html",
        "Defenses by domain",
        comparison.suite,
        links,
        here="defenses",
        menu=menu_of(comparison.tasks),
        scripts=[TABLES],
        comparison=comparison,
        keys=known,
        others=others,
        clean_paired=clean_paired,
        earlier=earlier,
        later=later,
    )
