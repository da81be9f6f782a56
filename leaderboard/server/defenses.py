"""Defenses by domain on a published board: what each entry gains and pays against one of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

from leaderboard.database.boards import PublicBoard
from leaderboard.scoring.compare import BASELINE, Comparison, compare
from leaderboard.scoring.rows import EntryRow
from leaderboard.server.state import ServerState
from leaderboard.server.stored import samples


UNDEFENDED: Final = "none"  # as a manifest says that an entry has no defense


def compare_served(state: ServerState, board: PublicBoard, baseline: str, shown: Sequence[EntryRow]) -> Comparison:
    """Some entries of a board against one."""
    entries = [one.entry for one in shown]
    wanted = {*entries, baseline}
    lines = {task: [line for line in here if line.entry in wanted] for task, here in board.tasks.items()}
    return compare(board.suite, lines, samples(state, lines), baseline, entries)


def usual_baseline(board: PublicBoard) -> str:
    """What entries are compared with where nobody chose: empty where every entry has a defense.

    The entry named `undefended`, which submitters do not have. Else, of those that state no defense and are on most
    tasks, the least robust whose clean quality may be the best, so that a model that is merely broken is none.
    """
    if any(one.entry == BASELINE for one in board.entries):
        return BASELINE
    defended = {line.entry for lines in board.tasks.values() for line in lines if line.defense != UNDEFENDED}
    plain = [one for one in board.entries if one.entry not in defended]
    tasks = Counter(line.entry for lines in board.tasks.values() for line in lines)
    most = max((tasks[one.entry] for one in plain), default=0)
    plain = [one for one in plain if tasks[one.entry] == most]
    best = max((one.clean for one in plain if one.clean is not None), default=None)
    usable = [one for one in plain if best is None or (one.clean_interval and one.clean_interval.high >= best)]
    return min(usable, key=lambda one: math.inf if one.robust is None else one.robust).entry if usable else ""
