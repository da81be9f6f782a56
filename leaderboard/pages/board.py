"""The pages of the boards: across domains, and one a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from leaderboard.pages.charts import Line, line_chart
from leaderboard.pages.layout import LISTING, TABLES, render, sentence
from leaderboard.pages.links import Links, file_key
from leaderboard.pages.listing import SHOWN, Listing, across_listing, table_json, task_listing, words_of
from leaderboard.printing import wording
from leaderboard.scoring.rows import Board, EntryRow, TaskBoard, TaskLine, TaskRow


MOST_REASONS: Final = 50
CURVES: Final = 6  # more lines in one picture cannot be told apart

Menu = Sequence[tuple[str, str]]


def menu_of(tasks: Sequence[str]) -> Menu:
    """The navigation's links to tasks: name and key of each."""
    return [(task, file_key(task)) for task in tasks]


def render_across(
    suite: str,
    entries: Sequence[EntryRow],
    lines: Mapping[str, Sequence[TaskLine]],
    links: Links,
    *,
    page: int = 1,
    earlier: str = "",
    later: str = "",
    source: str = "",
) -> str:
    """The board across domains. entries: all, in order; page: the hundred of them that the page shows at first. lines:
    the same entries on each task.

    earlier, later: addresses of the pages before and after, for readers without the script. source: address of
    `table_json` on the same host, where the table is not to be part of the page.
    """
    listing = across_listing(entries, lines)
    return _render(
        "board.html",
        "All domains",
        suite,
        links,
        listing,
        here="board",
        menu=menu_of(tuple(lines)),
        heading="Robustness across domains",
        intro="What is left of each model when an attacker picks, example by example, the worst of its attacks.",
        caption="Robust quality on each task and its mean, from 0 to 1: what the strongest attack measured left, an "
        "upper bound. \N{LESS-THAN OR EQUAL TO} marks an incomplete worst case, which has no rank.",
        unranked=[(row.entry, row.unranked) for row in entries if row.unranked][:MOST_REASONS],
        scripts=[LISTING],
        page=page,
        earlier=earlier,
        later=later,
        source=source,
    )


def render_task(
    suite: str,
    task: TaskBoard,
    lines: Sequence[TaskLine],
    links: Links,
    tasks: Sequence[str],
    *,
    page: int = 1,
    earlier: str = "",
    later: str = "",
    source: str = "",
) -> str:
    """The board of one task. lines: all entries, in order; task: the rows to show in detail, a hundred at most.

    The rest is as for render_across.
    """
    rows = task.rows[:SHOWN]
    shown = TaskBoard(task.task, task.metric, task.ranking_threat, rows)
    return _render(
        "task.html",
        task.task,
        suite,
        links,
        task_listing(lines, task.metric),
        here=f"task:{task.task}",
        menu=menu_of(tasks),
        heading=task.task,
        intro=_about(task),
        caption="Robust quality under the threat that ranks, from 0 to 1: what the strongest attack measured left, an "
        "upper bound. \N{LESS-THAN OR EQUAL TO} marks an incomplete worst case, which has no rank.",
        unranked=[(line.entry, line.unranked) for line in lines if line.unranked][:MOST_REASONS],
        scripts=[LISTING, TABLES],
        task=shown,
        rows=rows,
        columns=[_applying(one, rows) for one in wording.threat_columns(shown)],
        metric_name=task.metric.name if task.metric is not None else "the metric",
        curves=_curves(rows, shown),
        findings=[finding for row in rows for finding in row.findings],
        gaps=wording.gaps(Board(suite, (), (shown,))),
        page=page,
        earlier=earlier,
        later=later,
        source=source,
    )


def _render(
    template: str, title: str, suite: str, links: Links, listing: Listing, *, page: int, source: str, **data: object
) -> str:
    return render(
        template,
        title,
        suite,
        links,
        listing=listing,
        table="{}" if source else _embedded(listing, links),
        source=source,
        connect=bool(source),
        first=(page - 1) * SHOWN,
        shown=SHOWN,
        words_of=words_of,
        **data,  # type: ignore[arg-type]
    )


def _embedded(listing: Listing, links: Links) -> object:
    from markupsafe import Markup

    return Markup(table_json(listing, links))  # which holds no character that markup would know


def _applying(columns: wording.ThreatColumns, rows: Sequence[TaskRow]) -> wording.ThreatColumns:
    """Without the attacks that apply to no entry: they are told with their reasons below."""
    met = [cell for row in rows for cell in columns.cells(row) if cell is not None]
    labels = {cell.label for cell in met if cell.status != "n/a"}
    return columns._replace(labels=tuple(label for label in columns.labels if label in labels))


def _about(task: TaskBoard) -> str:
    if task.metric is None:
        return f"Nothing measured yet. Ranked under {task.ranking_threat}."
    better = "higher" if task.metric.higher_is_better else "lower"
    floor, ceiling = wording.metric(task.metric.floor), wording.metric(task.metric.ceiling)
    return (
        f"{sentence(task.metric.name)}, {better} is better; quality runs from 0 at {floor} to 1 at {ceiling}. "
        f"Ranked under {task.ranking_threat}."
    )


def _curves(rows: Sequence[TaskRow], task: TaskBoard) -> list[object]:
    charts: list[object] = []
    for threat in wording.threat_columns(task):
        found = [(row.entry, one.curve) for row in rows if (one := threat.of(row)) is not None and one.curve]
        lines = [
            Line(entry, tuple((p.share, p.quality, p.quality_interval.low, p.quality_interval.high) for p in curve))
            for entry, curve in found[:CURVES]
        ]
        if lines:
            charts.append(
                line_chart(
                    f"Robust quality against the budget of {threat.threat}",
                    "share of the budget; 0 is the clean pass",
                    "robust quality",
                    lines,
                )
            )
    return charts
