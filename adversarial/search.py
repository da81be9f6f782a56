"""The loop of every iterative attack: rows leave as soon as they are done, and waiting ones take their places."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from adversarial.problem import Problem


State = dict[str, Tensor]  # what a search carries from one step to the next, each [jobs, ...]
Start = Callable[[Problem, Tensor], State]
Step = Callable[[Problem, State], tuple[State, Tensor]]

REFILL = 4  # waiting jobs enter when a quarter of the places is free: filling up copies the whole batch
ABREAST = 8  # so many members of one row run side by side at most


def search(problem: Problem, start: Start, step: Step, members: int = 1) -> None:
    """Runs `members` jobs for each row, as many at a time as fit into one pass (problem.width).

    A job is a restart, a target, a member of a population. start(view, member): the first state of new jobs; member
    is int64 [jobs]. step(view, state): the next state and, bool [jobs], which jobs go on. Both see only rows of their
    own, and a row that is done takes all its jobs with it.

    A row's first member runs alone, since most rows that break do so there; the others follow in groups that enter
    together. So a row's outcome depends neither on the size of the batch nor on its company. Under a query limit
    every member runs alone: a row that is in the batch twice would spend twice.
    """
    width = 1 if problem.threat.query_limit is not None else ABREAST
    waiting = _Queue(problem, _groups(members, width))
    rows, view, state = waiting.nobody(), problem, State()
    while True:
        if (problem.width - len(rows)) * REFILL >= problem.width:
            fresh, member = waiting.next(problem.width - len(rows), rows)
            if len(fresh):
                began = start(_view(problem, fresh), member)
                state = {name: torch.cat([state[name], began[name]]) for name in began} if len(rows) else began
                rows = torch.cat([rows, fresh])
                view = _view(problem, rows)
                # Starting may have asked, and so finished a row.
                rows, view, state = _those(view.alive(), rows, view, state)
            elif not len(rows):
                return
        if len(rows):
            state, going = step(view, state)
            rows, view, state = _those(going & view.alive(), rows, view, state)


def _groups(members: int, width: int) -> list[range]:
    return [range(1), *(range(first, min(first + width, members)) for first in range(1, members, width))]


def _those(keep: Tensor, rows: Tensor, view: Problem, state: State) -> tuple[Tensor, Problem, State]:
    if bool(keep.all()):
        return rows, view, state
    chosen = keep.nonzero().squeeze(1)
    return rows[chosen], view.take(chosen), {name: part.index_select(0, chosen) for name, part in state.items()}


def _view(problem: Problem, rows: Tensor) -> Problem:
    everything = len(rows) == len(problem) and bool((rows[1:] > rows[:-1]).all())
    return problem if everything else problem.take(rows)


class _Queue:
    """Rows and the group of members that each has to run next; earlier groups go first."""

    def __init__(self, problem: Problem, groups: list[range]) -> None:
        self._problem, self._groups = problem, groups
        self._next = torch.zeros(len(problem), dtype=torch.int64, device=problem.keys.state.device)

    def nobody(self) -> Tensor:
        return self._next.nonzero().squeeze(1)[:0]

    def next(self, count: int, running: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and members of the jobs that enter: whole groups of rows that are not running, about `count` jobs."""
        free = self._problem.alive() & (self._next < len(self._groups))
        free[running] = False
        rows: list[Tensor] = []
        members: list[Tensor] = []
        room = count
        for place, group in enumerate(self._groups):
            fitting = max(room // len(group), 0 if rows or len(running) else 1)  # an empty batch takes one in any case
            chosen = (free & (self._next == place)).nonzero().squeeze(1)[:fitting]
            if len(chosen):
                rows.append(chosen.repeat_interleave(len(group)))
                members.append(torch.tensor(list(group), device=chosen.device).repeat(len(chosen)))
                room -= len(chosen) * len(group)
                self._next[chosen] += 1
                free[chosen] = False
        if not rows:
            return self.nobody(), self.nobody()
        return torch.cat(rows), torch.cat(members)
