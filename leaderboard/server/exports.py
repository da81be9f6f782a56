"""A published board as a table: CSV, JSON and Parquet, as leaderboard.printing.export makes them of a static one.

One row for each entry, task and threat. Cells are left out: of ten thousand entries they are hundreds of megabytes, and
each entry has its own under /v1/entries.
"""

from __future__ import annotations

import base64
import threading
from typing import Final

from leaderboard.database.boards import PublicBoard
from leaderboard.printing.export import ExportRow, csv_text, export_rows, json_bytes, parquet_bytes
from leaderboard.scoring.rows import Board
from leaderboard.server.boards import Answer, Published
from leaderboard.server.state import ServerState
from leaderboard.server.stored import AT_ONCE, task_board, task_rows


MEDIA_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}


# Seconds of work for a large board: one at a time, and beside the pages, which are rendered one at a time, too.
_MAKING: Final = threading.Lock()


def kept_export(state: ServerState, published: Published, board: PublicBoard, kind: str) -> Answer:
    """The table as `export` makes it, kept with the pages of these boards."""
    key = f"{board.suite}/export/{kind}"
    with _MAKING:
        found = published.pages.get(key)
        if found is None:
            text = export(state, board, kind)
            found = state.boards.page(published, key, lambda: text)
        return found


def export(state: ServerState, board: PublicBoard, kind: str) -> str:
    """The table as text; Parquet, which is none, in base64."""
    rows = served_rows(state, board)
    match kind:
        case "csv":
            return csv_text(rows)
        case "json":
            return json_bytes(board.suite, rows).decode("ascii")
        case _:
            return base64.b64encode(parquet_bytes(rows)).decode("ascii")


def served_rows(state: ServerState, board: PublicBoard) -> list[ExportRow]:
    """The rows of a board, in its order, a part at a time: of all that the store knows of an entry they are little."""
    found: list[ExportRow] = []
    for task, lines in board.tasks.items():
        for at in range(0, len(lines), AT_ONCE):
            part = lines[at : at + AT_ONCE]
            rows = task_rows(state, part)
            shown = task_board(board, task, [rows[one] for line in part if (one := line.origin.bundle) in rows])
            found += export_rows(Board(board.suite, board.entries, (shown,)))
    return found
