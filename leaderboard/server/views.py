"""From a published board to its pages: the same pages as a static site's, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote

import msgspec
from sqlalchemy import select

from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import Bundle, open_bundle
from leaderboard.database.boards import Across, Line, PublicBoard
from leaderboard.database.models import StoredResult
from leaderboard.database.scoring import unpack
from leaderboard.pages.board import render_across, render_task
from leaderboard.pages.compare import Pair, TaskPair, pair_task, render_compare
from leaderboard.pages.entry import EntryView, Place, render_entry
from leaderboard.pages.examples import Shown, gallery
from leaderboard.pages.links import Links, file_key
from leaderboard.pages.listing import across_listing, table_json, task_listing
from leaderboard.pages.scores import render_scores
from leaderboard.results import Result
from leaderboard.rows import EntryRow, TaskBoard, TaskRow
from leaderboard.scores import CLEAN
from leaderboard.server.boards import PER_PAGE, page_count
from leaderboard.server.lines import across_lines, task_lines
from leaderboard.server.state import State
from leaderboard.statistics import Sample


MOST_PEERS: Final = 12  # entries that an entry's page offers for comparison


def links_of(suite: str) -> Links:
    """Where the pages of a suite lie on the server."""
    base = f"/boards/{quote(suite, safe='@')}"
    return Links(
        board=base,
        task=f"{base}/tasks/{{key}}",
        entry=f"{base}/entries/{{key}}",
        compare=f"{base}/compare/{{one}}/{{other}}",
        defenses="",
        scores=f"{base}/scores",
        home="/",
        downloads={"JSON": f"/v1{base}"},
    )


def across_page(board: PublicBoard, number: int) -> str:
    """A board over all tasks."""
    links = links_of(board.suite)
    return render_across(
        board.suite,
        tuple(board.tasks),
        across_lines(board),
        links,
        page=number,
        earlier=_page(links.board, number - 1, page_count(board.across)),
        later=_page(links.board, number + 1, page_count(board.across)),
        source=f"{links.board}/table.json" if len(board.across) > PER_PAGE else "",
    )


def task_page(state: State, board: PublicBoard, task: str, number: int) -> str:
    """One task's board."""
    links, lines = links_of(board.suite), board.tasks.get(task, ())
    address = links.to_task(file_key(task))
    shown = lines[(number - 1) * PER_PAGE : number * PER_PAGE]
    rows = task_rows(state, shown)
    return render_task(
        board.suite,
        TaskBoard(
            task, board.metrics.get(task), board.threats[task], tuple(rows[one.id] for one in shown if one.id in rows)
        ),
        task_lines(board, task),
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
        listing = task_listing(task_lines(board, task), board.metrics.get(task))
    else:
        listing = across_listing(across_lines(board), tuple(board.tasks))
    return table_json(listing, links_of(board.suite))


def entry_page(state: State, board: PublicBoard, across: Across) -> str:
    """One entry on every task, with its adversarial examples."""
    lines = {task: _line(board, task, across.entry) for task in board.tasks}
    rows = task_rows(state, [line for line in lines.values() if line is not None])
    places = [
        _place(state, board, task, line, rows[line.id])
        for task, line in lines.items()
        if line is not None and line.id in rows
    ]
    view = EntryView(
        suite=board.suite,
        entry=across.entry,
        tasks=tuple(board.tasks),
        places=tuple(places),
        across=_entry_row(across),
        peers=tuple((one.entry, file_key(one.entry)) for one in board.across[:MOST_PEERS] if one is not across),
        key=file_key(across.entry),
    )
    return render_entry(view, links_of(board.suite))


def compare_page(state: State, board: PublicBoard, one: Across, other: Across) -> str:
    """Two entries side by side."""
    places: list[TaskPair] = []
    for task in board.tasks:
        lines = [_line(board, task, entry.entry) for entry in (one, other)]
        rows = task_rows(state, [line for line in lines if line is not None])
        samples = _samples(state, [line for line in lines if line is not None and not line.unranked])
        first, second = ((rows.get(line.id), samples.get(line.id)) if line else (None, None) for line in lines)
        metric, threat = board.metrics.get(task), board.threats[task]
        places.append(pair_task(task, metric, threat, (first[0], second[0]), (first[1], second[1])))
    keys = (file_key(one.entry), file_key(other.entry))
    pair = Pair(board.suite, one.entry, other.entry, keys, tuple(board.tasks), tuple(places))
    return render_compare(pair, links_of(board.suite))


def scores_page(board: PublicBoard, unrealisable: Sequence[str]) -> str:
    """How scores are made."""
    tasks = tuple(board.threats)
    return render_scores(board.suite, tasks, board.metrics, board.threats, unrealisable, links_of(board.suite))


def task_rows(state: State, lines: Sequence[Line]) -> dict[str, TaskRow]:
    """The rows of some entries with their ranks, by bundle."""
    by_id = {line.id: line for line in lines}
    query = select(StoredResult.bundle, StoredResult.row).where(StoredResult.bundle.in_(by_id))
    with state.database.read() as session:
        found = {bundle: msgspec.json.decode(row, type=TaskRow) for bundle, row in session.execute(query)}
    return {
        bundle: msgspec.structs.replace(row, rank=by_id[bundle].rank, unranked=by_id[bundle].unranked)
        for bundle, row in found.items()
    }


def _samples(state: State, lines: Sequence[Line]) -> dict[str, Sample]:
    query = select(StoredResult.bundle, StoredResult.sample).where(StoredResult.bundle.in_([one.id for one in lines]))
    with state.database.read() as session:
        return {bundle: unpack(sample, {}) for bundle, sample in session.execute(query) if sample}


def _place(state: State, board: PublicBoard, task: str, line: Line, row: TaskRow) -> Place:
    facts = [("Submitted by", line.submitter, ""), ("Submission", line.id[:12], f"/submissions/{line.id}")]
    facts += [("Licence", line.licence, "")] if line.licence else []
    facts += [("Link", line.url, line.url)] if line.url else []
    facts += [("Lowered by", other[:12], f"/submissions/{other}") for other in line.stronger]
    return Place(
        task=task,
        key=file_key(task),
        metric=board.metrics.get(task),
        ranking_threat=board.threats[task],
        row=row,
        level=line.level,
        shown=_examples(state, line),
        facts=tuple(facts),
    )


def _examples(state: State, line: Line) -> tuple[Shown, ...]:
    """What there is to see of an entry's attacks; nothing where its bundle cannot be read any more."""
    try:
        bundles = [open_bundle(state.depot.bundle_path(one)) for one in (line.id, *line.stronger)]
    except (BundleError, OSError):
        return ()
    results = list(bundles[0].records.values())
    clean = next((one for one in results if one.cell.attack == CLEAN and one.status == "ok"), None)
    found: list[Shown] = []
    for bundle in bundles:
        attacked = sorted(
            (one for one in bundle.records.values() if one.cell.attack != CLEAN), key=lambda one: one.cell.label
        )
        found += gallery(clean, attacked, _reader(bundle), state.settings.originals)
    return tuple(found)


def _reader(bundle: Bundle) -> Callable[[Result], bytes | None]:
    return lambda result: bundle.evidence(result.id) if result.id in bundle.evidence_cells else None


def _line(board: PublicBoard, task: str, entry: str) -> Line | None:
    return next((line for line in board.tasks[task] if line.entry == entry), None)


def _entry_row(line: Across) -> EntryRow:
    return EntryRow(
        entry=line.entry,
        clean=line.clean,
        clean_interval=line.clean_interval,
        robust=line.robust,
        robust_interval=line.robust_interval,
        bound=line.bound,
        retention=line.retention,
        rank=line.rank,
        unranked=line.unranked,
        verdict=line.verdict,  # type: ignore[arg-type]
    )


def _page(address: str, number: int, pages: int) -> str:
    return f"{address}?page={number}" if 1 <= number <= pages else ""
