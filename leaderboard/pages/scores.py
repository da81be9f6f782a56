"""The page on how scores are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leaderboard.pages.board import menu_of
from leaderboard.pages.layout import render
from leaderboard.pages.links import Links
from leaderboard.records.metric import Metric


def render_scores(
    suite: str,
    tasks: Sequence[str],
    metrics: Mapping[str, Metric | None],
    threats: Mapping[str, str],
    unrealisable: Sequence[str],
    links: Links,
) -> str:
    """How the numbers of a suite come about. metrics, threats: by task, the metric and the threat that ranks."""
    return render(
        "scores.html",
        "How scores are made",
        suite,
        links,
        here="scores",
        menu=menu_of(tasks),
        tasks=[(task, metrics.get(task), threats.get(task, "")) for task in tasks],
        unrealisable=sorted(unrealisable),
    )
