"""From a published board to its pages: the same pages as a static site's, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from leaderboard.bundle.reading import Bundle
from leaderboard.database.boards import PublicBoard
from leaderboard.pages.board import render_across, render_task
from leaderboard.pages.compare import Pair, TaskPair, pair_task, render_compare, samples_of
from leaderboard.pages.defenses import render_defenses
from leaderboard.pages.entry import EntryView, Place, render_entry
from leaderboard.pages.examples import Shown, gallery
from leaderboard.pages.links import DOWNLOADS, Links, file_key
from leaderboard.pages.listing import across_listing, table_json, task_listing
from leaderboard.pages.query_budget import spending_curves
from leaderboard.pages.scores import render_scores
from leaderboard.pages.sharing import sharing
from leaderboard.records.record import Result
from leaderboard.scoring.rows import Board, EntryRow, TaskRow
from leaderboard.scoring.scores import CLEAN
from leaderboard.server.boards import PER_PAGE, page_count
from leaderboard.server.defenses import compare_served, usual_baseline
from leaderboard.server.state import ServerState
from leaderboard.server.stored import (
    bundles_of,
    counted_records,
    line_of,
    reader,
    samples,
    task_board,
    task_rows,
)


MOST_PEERS: Final = 12  # entries that an entry's page offers for comparison


def links_of(suite: str) -> Links:
    """Where the pages of a suite lie on the server."""
    base = f"/boards/{quote(suite, safe='@')}"
    return Links(
        board=base,
        task=f"{base}/tasks/{{key}}",
        entry=f"{base}/entries/{{key}}",
        compare=f"{base}/compare/{{one}}/{{other}}",
        defenses=f"{base}/defenses",
        scores=f"{base}/scores",
        badge=f"{base}/entries/{{key}}/badge.svg",
        home="/",
        downloads={name: f"{base}/export.{kind}" for kind, name in DOWNLOADS.items()},
    )


def public_site(state: ServerState) -> str:
    """Under which address the world knows this server: the first name that it was given, behind TLS; else nothing."""
    names = [name for name in state.settings.hosts if "." in name and name.rpartition(".")[2].isalpha()]
    return f"https://{names[0]}" if names else ""


def across_page(board: PublicBoard, number: int) -> str:
    """A board over all tasks."""
    links = links_of(board.suite)
    return render_across(
        board.suite,
        board.entries,
        board.tasks,
        links,
        page=number,
        earlier=_page(links.board, number - 1, page_count(board.entries)),
        later=_page(links.board, number + 1, page_count(board.entries)),
        source=f"{links.board}/table.json" if len(board.entries) > PER_PAGE else "",
    )


def task_page(state: ServerState, board: PublicBoard, task: str, number: int) -> str:
    """One task's board."""
    links, lines = links_of(board.suite), board.tasks.get(task, ())
    address = links.to_task(file_key(task))
    shown = lines[(number - 1) * PER_PAGE : number * PER_PAGE]
    rows = task_rows(state, shown)
    return render_task(
        board.suite,
        task_board(board, task, [rows[one] for line in shown if (one := line.origin.bundle) in rows]),
        lines,
        links,
        tuple(board.tasks),
        page=number,
        earlier=_page(address, number - 1, page_count(lines)),
        later=_page(address, number + 1, page_count(lines)),
        source=f"{address}/table.json" if len(lines) > PER_PAGE else "",
    )


def table(board: PublicBoard, task: str) -> str:
    """All rows of a board as its page's script reads them; over all tasks where task is empty."""
    if task:
        listing = task_listing(board.tasks.get(task, ()), board.metrics.get(task))
    else:
        listing = across_listing(board.entries, board.tasks)
    return table_json(listing, links_of(board.suite))


def entry_page(state: ServerState, board: PublicBoard, across: EntryRow) -> str:
    """One entry on every task, with its adversarial examples."""
    lines = {task: line_of(board, task, across.entry) for task in board.tasks}
    rows = task_rows(state, [line for line in lines.values() if line is not None])
    places = [
        _place(state, board, task, rows[line.origin.bundle])
        for task, line in lines.items()
        if line is not None and line.origin.bundle in rows
    ]
    alone = Board(board.suite, (across,), tuple(task_board(board, one.task, [one.row]) for one in places))
    links, site = links_of(board.suite), public_site(state)
    key = file_key(across.entry)
    view = EntryView(
        suite=board.suite,
        entry=across.entry,
        tasks=tuple(board.tasks),
        places=tuple(places),
        across=across,
        peers=tuple((one.entry, file_key(one.entry)) for one in board.entries[:MOST_PEERS] if one is not across),
        key=key,
        sharing=sharing(
            alone,
            across.entry,
            page=f"{site}{links.to_entry(key)}" if site else "",
            badge=f"{site}{links.to_badge(key)}" if site else "",
        ),
    )
    return render_entry(view, links)


def compare_page(state: ServerState, board: PublicBoard, one: EntryRow, other: EntryRow) -> str:
    """Two entries side by side."""
    places: list[TaskPair] = []
    lines = {
        task: [line for entry in (one, other) if (line := line_of(board, task, entry.entry)) is not None]
        for task in board.tasks
    }
    known = samples(state, lines)
    for task, there in lines.items():
        rows = task_rows(state, there)
        by_entry = {row.entry: row for row in rows.values()}
        records: dict[str, Result] = {}
        for row in rows.values():
            records |= counted_records(row, bundles_of(state, row.origin))
        places.append(
            pair_task(
                task,
                board.metrics.get(task),
                board.threats[task],
                (by_entry.get(one.entry), by_entry.get(other.entry)),
                (known.robust[task].get(one.entry), known.robust[task].get(other.entry)),
                (known.clean[task].get(one.entry), known.clean[task].get(other.entry)),
                samples_of(records),
            )
        )
    keys = (file_key(one.entry), file_key(other.entry))
    pair = Pair(board.suite, one.entry, other.entry, keys, tuple(board.tasks), tuple(places))
    return render_compare(pair, links_of(board.suite))


def defenses_page(state: ServerState, board: PublicBoard, against: EntryRow | None, number: int) -> str:
    """What entries gain and pay against one of them, a hundred a page."""
    links = links_of(board.suite)
    chosen = f"against={quote(file_key(against.entry), safe='')}&" if against is not None else ""
    shown = board.entries[(number - 1) * PER_PAGE : number * PER_PAGE]
    pages = page_count(board.entries)
    return render_defenses(
        compare_served(state, board, against.entry if against is not None else usual_baseline(board), shown),
        links,
        others=[
            (one.entry, f"{links.defenses}?against={quote(file_key(one.entry), safe='')}")
            for one in board.entries[:MOST_PEERS]
        ],
        earlier=f"{links.defenses}?{chosen}page={number - 1}" if number > 1 else "",
        later=f"{links.defenses}?{chosen}page={number + 1}" if number < pages else "",
    )


def scores_page(board: PublicBoard, unrealisable: Sequence[str]) -> str:
    """How scores are made."""
    tasks = tuple(board.threats)
    return render_scores(board.suite, tasks, board.metrics, board.threats, unrealisable, links_of(board.suite))


def _place(state: ServerState, board: PublicBoard, task: str, row: TaskRow) -> Place:
    origin = row.origin
    facts = [("Submitted by", origin.submitter, "")]
    facts += [("Submission", origin.bundle[:12], f"/submissions/{origin.bundle}")]
    facts += [("Licence", origin.licence, "")] if origin.licence else []
    facts += [("Link", origin.url, origin.url)] if origin.url else []
    facts += [("Lowered by", other[:12], f"/submissions/{other}") for other in origin.stronger]
    bundles = bundles_of(state, origin)
    return Place(
        task=task,
        key=file_key(task),
        metric=board.metrics.get(task),
        ranking_threat=board.threats[task],
        row=row,
        shown=_examples(state, bundles),
        facts=tuple(facts),
        spending=spending_curves(row, counted_records(row, bundles)),
    )


def _examples(state: ServerState, bundles: Sequence[Bundle]) -> tuple[Shown, ...]:
    """What there is to see of an entry's attacks."""
    if not bundles:
        return ()
    results = list(bundles[0].records.values())
    clean = next((one for one in results if one.cell.attack == CLEAN and one.status == "ok"), None)
    found: list[Shown] = []
    for bundle in bundles:
        attacked = sorted(
            (one for one in bundle.records.values() if one.cell.attack != CLEAN), key=lambda one: one.cell.label
        )
        found += gallery(clean, attacked, reader(bundle), state.settings.originals)
    return tuple(found)


def _page(address: str, number: int, pages: int) -> str:
    return f"{address}?page={number}" if 1 <= number <= pages else ""
