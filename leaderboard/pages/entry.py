"""The page of one entry: its figures, its curves, every attack, and what the attacks made of its inputs."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

import msgspec

from leaderboard.pages.board import menu_of
from leaderboard.pages.charts import Line, line_chart
from leaderboard.pages.examples import Shown
from leaderboard.pages.layout import COPY, TABLES, render
from leaderboard.pages.links import Links
from leaderboard.pages.query_budget import SpendingCurve, spending_chart
from leaderboard.pages.sharing import Sharing
from leaderboard.records.metric import Metric
from leaderboard.scoring.rows import CellRow, EntryRow, TaskRow, ThreatRow
from leaderboard.scoring.statistics import RankInterval


_LIMIT: Final = re.compile(r"(?:<=|#)([1-9][0-9]*)$")  # as threats end, `SURFACE-linf:0.1@scores<=1000`


class Place(msgspec.Struct, frozen=True):
    """The entry on one task. shown: its adversarial examples.

    facts: further lines about it, as name, text and an address or nothing, such as who submitted it. spending: what
    its attacks spent.
    """

    task: str
    key: str
    metric: Metric | None
    ranking_threat: str
    row: TaskRow
    shown: tuple[Shown, ...] = ()
    facts: tuple[tuple[str, str, str], ...] = ()
    spending: tuple[SpendingCurve, ...] = ()


class EntryView(msgspec.Struct, frozen=True):
    """What the page shows. across: the entry's line across domains, None where the board has none."""

    suite: str
    entry: str
    tasks: tuple[str, ...]
    places: tuple[Place, ...]
    across: EntryRow | None = None
    peers: tuple[tuple[str, str], ...] = ()  # name and key of entries that it may be compared with
    key: str = ""
    sharing: Sharing | None = None

    @property
    def rank(self) -> RankInterval | None:
        return self.across.rank if self.across is not None else None


def render_entry(view: EntryView, links: Links) -> str:
    """One entry's page."""
    pairs = [(name, address) for name, key in view.peers if (address := links.to_pair(view.key, key))]
    return render(
        "entry.html",
        view.entry,
        view.suite,
        links,
        menu=menu_of(view.tasks),
        scripts=[TABLES, COPY],
        view=view,
        pairs=pairs,
        charts={place.task: charts_of(place) for place in view.places},
        labels_of=labels_of,
        cells_of=cells_of,
    )


def charts_of(place: Place) -> list[object]:
    """The budget curves and the query curves of an entry on one task, threat by threat."""
    spent = {one.threat: one for one in place.spending}
    charts: list[object] = []
    for threat in ranking_first(place.row):
        points = tuple((p.share, p.quality, p.quality_interval.low, p.quality_interval.high) for p in threat.curve)
        if points:
            charts.append(
                line_chart(
                    f"Budget curve under {threat.threat}",
                    "share of the budget; 0 is the clean pass",
                    "robust quality",
                    [Line(place.row.entry, points)],
                )
            )
        lines = _query_lines(place.row, threat.threat)
        if lines:
            charts.append(
                line_chart(f"Limits of queries under {threat.threat}", "queries an example", "quality", lines, log=True)
            )
        if threat.threat in spent and len({one.passes for one in spent[threat.threat].points}) > 1:
            charts.append(spending_chart(spent[threat.threat]))
    return charts


def _query_lines(row: TaskRow, threat: str) -> list[Line]:
    """Attacks that were measured under several limits of queries, by attack and parameters."""
    found: dict[tuple[str, str], dict[int, tuple[float, float, float, float]]] = defaultdict(dict)
    cells = next((one.attacks for one in row.threats if one.threat == threat), ())
    for cell in cells:
        limit = _LIMIT.search(cell.threat)
        if limit is None or cell.figure is None:
            continue
        figure, queries = cell.figure, int(limit[1])
        name = ", ".join(f"{key}={value}" for key, value in cell.params.items())
        interval = figure.quality_interval
        found[cell.attack, name][queries] = (float(queries), figure.quality, interval.low, interval.high)
    names = {attack: sum(1 for other, _ in found if other == attack) for attack, _ in found}
    return [
        Line(attack if names[attack] == 1 else f"{attack} ({params})", tuple(points[at] for at in sorted(points)))
        for (attack, params), points in sorted(found.items())
        if len(points) > 1
    ]


def ranking_first(row: TaskRow) -> list[ThreatRow]:
    """The threats of a row: the one that ranks, then the others."""
    return sorted(row.threats, key=lambda threat: not threat.ranking)


def labels_of(place: Place) -> dict[str, str]:
    """What each cell of a task is called, by its id."""
    return {cell.id: cell.label for cell in place.row.cells}


def cells_of(row: TaskRow) -> list[CellRow]:
    """Every cell of a row, in the order of the page: the clean pass, the threat that ranks, the others."""
    return [*row.clean_cells, *(cell for threat in ranking_first(row) for cell in threat.attacks)]
