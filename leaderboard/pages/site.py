"""A board as a folder of static pages that open from a disk: no outside resource, and a policy that allows none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Final

from leaderboard.pages.board import render_across, render_task
from leaderboard.pages.compare import Pair, pair_task, render_compare, samples_of
from leaderboard.pages.defenses import render_defenses
from leaderboard.pages.entry import EntryView, Place, cells_of, render_entry
from leaderboard.pages.examples import gallery
from leaderboard.pages.links import Links, file_key, static_links
from leaderboard.pages.query_budget import spending_curves
from leaderboard.pages.scores import render_scores
from leaderboard.pages.sharing import sharing
from leaderboard.printing.export import csv_text, export_rows, json_bytes
from leaderboard.records.examples import Originals
from leaderboard.records.files import write_whole
from leaderboard.records.plan import JournalEntry, Plan
from leaderboard.records.record import Result
from leaderboard.scoring.board import ScoredBoard, scored_board
from leaderboard.scoring.compare import compare
from leaderboard.scoring.rows import Board, TaskBoard
from leaderboard.scoring.scores import CLEAN


MOST_PAIRED: Final = 12  # entries that each get a page with each other one; the others are compared on the board
DOWNLOADS: Final = ("board.csv", "board.json")


@dataclass(frozen=True)
class SiteSource:
    """What a site is made from. read: the evidence file of a record, None where it is not there. originals: what
    examples were before. levels: of verification, by entry.
    """

    plan: Plan
    results: Mapping[str, Result]
    journal: Mapping[str, JournalEntry]
    read: Callable[[Result], bytes | None] = lambda _: None
    originals: Originals | None = None
    levels: Mapping[str, str] = field(default_factory=dict)


def write_site(source: SiteSource, directory: str | os.PathLike[str]) -> Path:
    """Writes all pages, each whole or not at all, the first page last, and returns its path. Raises StoreError."""
    folder = Path(directory)
    first = folder / "index.html"
    for name, text in pages_of(source):
        write_whole(folder / name, text.encode() if isinstance(text, str) else text)
    return first


def pages_of(source: SiteSource) -> Iterator[tuple[str, str | bytes]]:
    """Every file of the site, by its path below the folder; the first page comes last."""
    scored = scored_board(source.plan, source.results, source.journal, source.levels)
    board = scored.board
    paired = frozenset(file_key(row.entry) for row in board.entries[:MOST_PAIRED])
    names = [task.task for task in board.tasks]
    top, below = static_links(0, paired, DOWNLOADS), static_links(1, paired, DOWNLOADS)
    rows = export_rows(board, cells=True)
    yield "data/board.csv", csv_text(rows)
    yield "data/board.json", json_bytes(board.suite, rows)
    for pair in pairs_of(source, scored):
        yield f"compare/{pair.keys[0]}--{pair.keys[1]}.html", render_compare(pair, below)
    for view in views_of(source, board):
        assert view.sharing is not None
        yield f"badges/{view.key}.svg", view.sharing.badge.encode()
        yield f"entries/{view.key}.html", render_entry(view, below)
    for task in board.tasks:
        yield (
            f"tasks/{file_key(task.task)}.html",
            render_task(board.suite, task, task.rows, below, names),
        )
    order = [row.entry for row in board.entries]
    yield "defenses.html", render_defenses(compare(board.suite, board.lines, scored.samples, entries=order), top)
    yield "scores.html", _scores(source.plan, board, top)
    yield "index.html", render_across(board.suite, board.entries, board.lines, top)


def pairs_of(source: SiteSource, scored: ScoredBoard) -> Iterator[Pair]:
    """The first entries of the board, each with each other one."""
    board, (robust, clean) = scored.board, (scored.samples.robust, scored.samples.clean)
    samples = samples_of(source.results)
    tasks = tuple(task.task for task in board.tasks)
    shown = sorted((row.entry for row in board.entries[:MOST_PAIRED]), key=file_key)
    for one, other in combinations(shown, 2):
        places = tuple(
            pair_task(
                task.task,
                task.metric,
                task.ranking_threat,
                (task.row(one), task.row(other)),
                (robust[task.task].get(one), robust[task.task].get(other)),
                (clean[task.task].get(one), clean[task.task].get(other)),
                samples,
            )
            for task in board.tasks
        )
        yield Pair(board.suite, one, other, (file_key(one), file_key(other)), tasks, places)


def views_of(source: SiteSource, board: Board) -> Iterator[EntryView]:
    """Every entry with its tasks and examples."""
    peers = tuple((row.entry, file_key(row.entry)) for row in board.entries[:MOST_PAIRED])
    for across in board.entries:
        places = tuple(_place(source, task, across.entry) for task in board.tasks if task.row(across.entry) is not None)
        yield EntryView(
            suite=board.suite,
            entry=across.entry,
            tasks=tuple(task.task for task in board.tasks),
            places=places,
            across=across,
            peers=peers,
            key=file_key(across.entry),
            sharing=sharing(board, across.entry),
        )


def _place(source: SiteSource, task: TaskBoard, entry: str) -> Place:
    row = task.row(entry)
    assert row is not None
    clean = [source.results[cell.id] for cell in row.clean_cells if cell.id in source.results]
    attacked = [source.results[cell.id] for cell in cells_of(row) if cell.id in source.results]
    first = next((result for result in clean if result.status == "ok"), None)
    return Place(
        task=task.task,
        key=file_key(task.task),
        metric=task.metric,
        ranking_threat=task.ranking_threat,
        row=row,
        shown=gallery(first, [one for one in attacked if one.cell.attack != CLEAN], source.read, source.originals),
        spending=spending_curves(row, source.results),
    )


def _scores(plan: Plan, board: Board, links: Links) -> str:
    return render_scores(
        board.suite,
        [task.task for task in board.tasks],
        {task.task: task.metric for task in board.tasks},
        {task.task: task.ranking_threat for task in board.tasks},
        plan.unrealisable_threats,
        links,
    )
