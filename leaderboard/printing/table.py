"""The board in a terminal: readable in 100 columns, plain where the output is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from leaderboard.printing import wording
from leaderboard.printing.terminal import show
from leaderboard.scoring.rows import Board, EntryRow, TaskBoard, TaskRow


ENTRIES_A_TABLE: Final = 4
_COLOURS: Final = {"reliable": "green", "suspect": "yellow", "invalid": "red", "incomplete": "dim"}


def print_board(board: Board, target: Console) -> None:
    """Prints the cross-domain board, each task, the cells without a number, the diagnostics and the cost."""
    for part in render(board):
        show(part, target)
        target.print()


def render(board: Board) -> tuple[RenderableType, ...]:
    """The parts of the board, from the overview to the detail."""
    parts: list[RenderableType] = [_across(board)]
    for task in board.tasks:
        parts += _task(task)
    parts += [part for part in (_unranked(board), _gaps(board), _findings(board)) if part is not None]
    return (*parts, _cost(board))


def styled_table(title: str, note: str = "") -> Table:
    """An empty table in the style of all of them; names are never read as markup."""
    return Table(
        title=Text(title, style="bold"),
        title_justify="left",
        caption=Text(note, style="dim") if note else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def name(text: str, style: str = "") -> Text:
    """A name from a record, as it is and on one line."""
    return Text(wording.printable(text), style=style, overflow="fold")


def split_name(text: str) -> str:
    """A task's name over two lines, so that the column of its figures stays narrow."""
    return wording.printable(text).replace("-", "-\n", 1)


def _across(board: Board) -> Table:
    note = (
        "quality, clean→robust; robust is an upper bound, what the strongest of the attacks below left; below, its 95% "
        "interval; ≤ incomplete worst case"
    )
    table = styled_table(f"{board.suite}: robustness across domains", note)
    table.add_column("rank")
    table.add_column("entry", overflow="fold")
    for task in board.tasks:
        table.add_column(Text(split_name(task.task)), no_wrap=True)
    for heading in ("mean", "kept", "verdict"):
        table.add_column(heading, no_wrap=True)
    for entry in board.entries:
        rows = [task.row(entry.entry) for task in board.tasks]
        table.add_row(
            wording.rank(entry.rank),
            name(entry.entry, "bold"),
            *(_task_quality(row) for row in rows),
            _mean_quality(entry),
            wording.percent(entry.retention, bound=entry.bound),
            Text(wording.verdict(entry), style=_COLOURS[wording.verdict(entry)]),
        )
    return table


def _task_quality(row: TaskRow | None) -> str:
    if row is None:
        return wording.NOTHING
    clean = wording.quality(row.clean.quality if row.clean is not None else None)
    if row.robust is None:
        return f"{clean}→{wording.NOTHING}"
    robust = wording.quality(row.robust.quality, bound=row.bound)
    return f"{clean}→{robust}\n{wording.interval(row.robust.quality_interval)}"


def _mean_quality(entry: EntryRow) -> str:
    pair = f"{wording.quality(entry.clean)}→{wording.quality(entry.robust, bound=entry.bound)}"
    return f"{pair}\n{wording.interval(entry.robust_interval)}".rstrip()


def _task(task: TaskBoard) -> Iterator[RenderableType]:
    """Entries as columns, since attacks outnumber them; a few entries a table, so that it fits."""
    for start in range(0, len(task.rows), ENTRIES_A_TABLE):
        rows = task.rows[start : start + ENTRIES_A_TABLE]
        metric = task.metric.name if task.metric is not None else "nothing measured"
        table = styled_table(f"{task.task}: {metric}, ranked under {task.ranking_threat}")
        table.add_column("threat, attack", overflow="fold")
        for row in rows:
            table.add_column(name(row.entry), overflow="fold")
        table.add_row("rank", *(wording.rank(row.rank) for row in rows))
        table.add_row("clean", *(_clean(row) for row in rows), end_section=True)
        for columns in wording.threat_columns(task):
            _add_threat(table, columns, rows, task)
        yield table


def _clean(row: TaskRow) -> str:
    if row.clean is None:
        return wording.NOTHING
    return f"{wording.metric(row.clean.metric)}  {wording.metric_interval(row.clean.metric_interval)}"


def _add_threat(table: Table, columns: wording.ThreatColumns, rows: Sequence[TaskRow], task: TaskBoard) -> None:
    mark = "" if columns.realisable else " (unrealisable)"
    table.add_row(name(f"{columns.threat}{mark}", "bold"))
    cells = [columns.cells(row) for row in rows]
    for label, *attacked in zip(columns.labels, *cells, strict=True):
        table.add_row(name(f"  {label}"), *(wording.measured(cell) for cell in attacked))
    found = [columns.of(row) for row in rows]
    worst = []
    for one in found:
        text = wording.worst_case(one, task.metric)
        if one is not None and one.robust is not None:
            text = f"{text}  {wording.metric_interval(one.robust.metric_interval)}"
        worst.append(text)
    table.add_row("  worst case", *worst, style="bold")
    kept = [
        wording.percent(one.retention, bound=bool(one.problems)) if one is not None else wording.NOTHING
        for one in found
    ]
    points = [{point.share: point for point in one.curve} if one is not None else {} for one in found]
    for share in sorted({share for curve in points for share in curve} - {0.0, 1.0}):
        at_share = [wording.quality(curve[share].quality) if share in curve else wording.NOTHING for curve in points]
        table.add_row(name(f"  quality at {share:g} of the budget"), *at_share)
    edits = [one.robust.columns if one is not None and one.robust is not None else {} for one in found]
    for column in sorted({column for one in edits for column in one}):
        shown = [wording.metric(one[column]) if column in one else wording.NOTHING for one in edits]
        table.add_row(name(f"  {column}"), *shown)
    table.add_row("  kept of the clean quality", *kept, end_section=True)


def _unranked(board: Board) -> Table | None:
    places = [(entry.entry, entry.unranked) for entry in board.entries if entry.unranked]
    if not places:
        return None
    table = styled_table("Not ranked across domains")
    table.add_column("entry", overflow="fold")
    table.add_column("why", overflow="fold")
    for entry, reason in places:
        table.add_row(name(entry), name(reason))
    return table


def _gaps(board: Board) -> Table | None:
    gaps = wording.gaps(board)
    if not gaps:
        return None
    table = styled_table("Cells without a number", "n/a counts neither way; the others leave a worst case incomplete")
    for heading in ("task", "status", "attack", "threat", "reason", "entries"):
        table.add_column(heading, overflow="fold")
    tasks = {task.task: task for task in board.tasks}
    for gap in gaps:
        who = name(gap.who(tasks[gap.task]))
        table.add_row(name(gap.task), gap.status, name(gap.attack), name(gap.threat), name(gap.reason), who)
    return table


def _findings(board: Board) -> Table | None:
    findings = [finding for task in board.tasks for row in task.rows for finding in row.findings]
    if not findings:
        return None
    table = styled_table("Diagnostics", "either severity takes the entry off the ranking")
    for heading in ("severity", "task", "entry", "attack", "finding"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        place = f"{finding.attack} ({finding.threat})"
        text = f"{finding.name}: {finding.detail}"
        colour = _COLOURS[finding.severity]
        table.add_row(
            Text(finding.severity, style=colour),
            name(finding.task),
            name(finding.entry),
            name(place),
            name(text),
        )
    return table


def _cost(board: Board) -> Table:
    table = styled_table("Cost of measuring", "forwards, backwards and queries count examples, not batches")
    table.add_column("task", overflow="fold")
    table.add_column("entry", overflow="fold")
    for heading in wording.COST_COLUMNS:
        table.add_column(heading, justify="right")
    for task in board.tasks:
        for row in task.rows:
            table.add_row(name(task.task), name(row.entry), *wording.spent(row.spent))
    return table
