"""Output as its reader takes it: in any encoding, and where a pipe is closed or a disk is full."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from typing import IO, Final

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text


PLAIN_WIDTH: Final = 100
HANDLER: Final = "robustarena.ascii"  # for characters that an encoding lacks
_SPELLINGS: Final = {
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "\N{MULTIPLICATION SIGN}": "x",
    "±": "+-",
    "…": "...",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-",
    "\N{BOX DRAWINGS LIGHT VERTICAL}": "|",
}


def spelled(text: str, encoding: str) -> str:
    """A text in what an encoding has: an arrow becomes `->`, a letter that is lacking its escape."""
    return text.encode(encoding, HANDLER).decode(encoding)


def adapt(*streams: IO[str] | None) -> None:
    """Has text streams spell what their encoding lacks, in place of an error halfway through the output."""
    for stream in streams:
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=HANDLER)


def settle(*streams: IO[str] | None) -> None:
    """Leaves nothing in the streams that Python would try to write at its end, and complain about."""
    for stream in streams:
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


def say(text: str) -> None:
    """One line on standard error, whatever the text holds; silent where nobody can read it."""
    line = " ".join(part.strip() for part in text.splitlines() if part.strip())
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print("".join(one if one.isprintable() else "?" for one in line), file=sys.stderr, flush=True)


def console(file: IO[str] | None = None) -> Console:
    """A console for the tables: the terminal as it is, or 100 plain columns into a file or a pipe."""
    found = Console(file=file, highlight=False)
    if found.is_terminal:
        return found
    return Console(file=file, width=PLAIN_WIDTH, no_color=True, color_system=None, highlight=False)


def show(part: RenderableType, target: Console) -> None:
    """Prints a table or a text in what the console's encoding has; its columns stay aligned."""
    if isinstance(part, Table) and not target.encoding.startswith("utf"):
        part = _respelled(part, target.encoding)
    target.print(part)


def _respelled(table: Table, encoding: str) -> Table:
    """The same table, spelled before it is laid out: `->` is wider than the arrow."""

    def plain(cell: object) -> Text:
        style = cell.style if isinstance(cell, Text) else ""
        return Text(spelled(str(cell), encoding), style=style, overflow="fold")

    found = Table(
        title=plain(table.title),
        title_justify=table.title_justify,
        caption=plain(table.caption) if table.caption else None,
        caption_justify=table.caption_justify,
        box=box.ASCII2,
        pad_edge=table.pad_edge,
        padding=table.padding,
    )
    for column in table.columns:
        found.add_column(plain(column.header), justify=column.justify, overflow="fold", no_wrap=column.no_wrap)
    for row, cells in zip(table.rows, zip(*(column.cells for column in table.columns), strict=True), strict=True):
        found.add_row(*map(plain, cells), style=row.style, end_section=row.end_section)
    return found


def _substitute(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    escaped = (_SPELLINGS.get(one) or one.encode("ascii", "backslashreplace").decode() for one in lacking)
    return "".join(escaped), error.end


codecs.register_error(HANDLER, _substitute)
