"""What an entry may show elsewhere: a badge as SVG, and its results for a model card of the Hugging Face Hub.

The card's format: https://huggingface.co/docs/hub/model-cards#evaluation-results
"""

from __future__ import annotations

import difflib
import json
from typing import Any

from adversarial.errors import UnknownName
from leaderboard.printing import wording
from leaderboard.scoring.rows import Board, EntryRow, TaskBoard, TaskRow
from leaderboard.scoring.statistics import RankInterval


def badge_of(board: Board, entry: str, task: str = "") -> str:
    """The badge of an entry, across domains or on one task. Raises UnknownName for a name that the board lacks."""
    label = f"RobustArena {board.suite}"
    if task:
        row = _row(_task(board, task), entry)
        value = wording.quality(row.robust.quality if row.robust is not None else None, bound=row.bound)
        return badge_svg(f"{label} {task}", _message(value, row.rank))
    return badge_svg(*badge_words(board.suite, _across(board, entry)))


def badge_words(suite: str, row: EntryRow) -> tuple[str, str]:
    """What the badge of an entry says across domains, in its two parts."""
    return f"RobustArena {suite}", _message(wording.quality(row.robust, bound=row.bound), row.rank)


def badge_svg(label: str, message: str) -> str:
    """Two words on a plate, as SVG that needs nothing else and tells its text to who does not see it."""
    from markupsafe import Markup

    first, second = _width(label), _width(message)
    total = first + second
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="20" viewBox="0 0 {w} 20" role="img" '
            'aria-label="{text}"><title>{text}</title>'
            '<clipPath id="r"><rect width="{w}" height="20" rx="4"/></clipPath><g clip-path="url(#r)">'
            '<rect width="{a}" height="20" fill="#3b424b"/><rect x="{a}" width="{b}" height="20" fill="#1f4e8c"/></g>'
            '<g fill="#ffffff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" text-anchor="middle">'
            '<text x="{x}" y="14" textLength="{la}" lengthAdjust="spacingAndGlyphs">{label}</text>'
            '<text x="{y}" y="14" textLength="{lb}" lengthAdjust="spacingAndGlyphs">{message}</text></g></svg>\n'
        ).format(
            w=total,
            a=first,
            b=second,
            x=first / 2,
            y=first + second / 2,
            la=first - 12,
            lb=second - 12,
            text=f"{label}: {message}",
            label=wording.printable(label),
            message=message,
        )
    )


def model_card(board: Board, entry: str, url: str = "") -> str:
    """The head of a model card: `model-index` with every task of the entry, as YAML between two lines of dashes.

    url: where the board or the entry may be seen. Raises UnknownName for a name that the board lacks.
    """
    _across(board, entry)
    lines = ["---", "model-index:", f"- name: {_text(entry)}", "  results:"]
    for task in board.tasks:
        row = task.row(entry)
        if row is not None:
            lines += _result(board, task, row, url)
    return "\n".join([*lines, "---", ""])


def _result(board: Board, task: TaskBoard, row: TaskRow, url: str) -> list[str]:
    lines = [
        "  - task:",
        '      type: "other"',  # none of the Hub's own: a board takes any task, and knows its name alone
        f"      name: {_text(task.task)}",
        "    dataset:",
        f"      type: {_text(task.task)}",
        f"      name: {_text(f'RobustArena {task.task}')}",
        f"      config: {_text(board.suite)}",
        "      split: test",
        "    metrics:",
    ]
    name = task.metric.name if task.metric is not None else "metric"
    if row.clean is not None:
        lines += _metric(name.lower(), f"clean {name}", row.clean.metric)
    ranking = row.ranking
    if ranking is not None and ranking.robust is not None:
        # An incomplete worst case is only a bound, and a card cannot say so but in the name.
        bound = " (at best)" if ranking.problems else ""
        lines += _metric(name.lower(), f"{name} under {ranking.threat}{bound}", ranking.robust.metric)
        lines += _metric("robust_quality", f"robust quality under {ranking.threat}{bound}", ranking.robust.quality)
    if lines[-1] == "    metrics:":
        return []
    if url:
        lines += ["    source:", f"      name: {_text(f'RobustArena {board.suite}')}", f"      url: {_text(url)}"]
    return lines


def _metric(kind: str, name: str, value: float) -> list[str]:
    return [f"    - type: {_text(kind)}", f"      name: {_text(name)}", f"      value: {round(value, 4)}"]


def _text(value: Any) -> str:
    """A YAML scalar: JSON texts are YAML, whatever they hold."""
    return json.dumps(str(value))


def _message(quality: str, rank: RankInterval | None) -> str:
    return f"robust {quality}" + (f" \N{MIDDLE DOT} rank {wording.rank(rank)}" if rank is not None else "")


def _width(text: str) -> int:
    """The width of a text in pixels at 11 px Verdana, roughly; textLength makes it fit exactly."""
    narrow = sum(letter in "iljtfr.,:;|!' " for letter in text)
    return round(7.0 * (len(text) - narrow) + 4.2 * narrow) + 12


def _across(board: Board, entry: str) -> EntryRow:
    names = [row.entry for row in board.entries]
    found = next((row for row in board.entries if row.entry == entry), None)
    if found is None:
        raise UnknownName(f"{board.suite} has no entry {entry!r}{_near(entry, names)}")
    return found


def _task(board: Board, task: str) -> TaskBoard:
    found = next((one for one in board.tasks if one.task == task), None)
    if found is None:
        raise UnknownName(f"{board.suite} has no task {task!r}{_near(task, [one.task for one in board.tasks])}")
    return found


def _row(task: TaskBoard, entry: str) -> TaskRow:
    found = task.row(entry)
    if found is None:
        raise UnknownName(f"{task.task} has no entry {entry!r}{_near(entry, [row.entry for row in task.rows])}")
    return found


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else f"; it has {', '.join(known[:10]) or 'none'}"
