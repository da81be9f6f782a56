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


def search(problem: Problem, start: Start, step: Step, members: int = 1) -> None:
    """Runs `members` jobs for each row, as many at a time as fit into one pass (problem.width).

    A job is a restart, a target, a member of a population. All first members wait before all second ones, and a row
    that is done takes its waiting jobs with it. start(view, member): the first state of new jobs; member is int64
    [jobs]. step(view, state): the next state and, bool [jobs], which jobs go on. Both see only rows of their own,
    so no job's outcome depends on which others run beside it.

    Under a query limit the members run one after the other: a row in the batch twice would spend twice.
    """
    if problem.threat.query_limit is None:
        _run(problem, start, step, torch.arange(members, device=problem.keys.state.device))
        return
    for member in range(members):
        _run(problem, start, step, torch.tensor([member], device=problem.keys.state.device))


def _run(problem: Problem, start: Start, step: Step, members: Tensor) -> None:
    waiting = _Queue(problem, members)
    rows, view, state = waiting.empty(), problem, State()
    while True:
        if waiting.left and (problem.width - len(rows)) * REFILL >= problem.width:
            fresh, member = waiting.next(problem.width - len(rows))
            if len(fresh):
                began = start(_view(problem, fresh), member)
                state = {name: torch.cat([state[name], began[name]]) for name in began} if len(rows) else began
                rows = torch.cat([rows, fresh])
                view = _view(problem, rows)
        if not len(rows):
            if not waiting.left:
                return
            continue
        rows, view, state = _those(view.alive(), rows, view, state)
        if len(rows):
            state, going = step(view, state)
            rows, view, state = _those(going & view.alive(), rows, view, state)


def _those(keep: Tensor, rows: Tensor, view: Problem, state: State) -> tuple[Tensor, Problem, State]:
    if bool(keep.all()):
        return rows, view, state
    chosen = keep.nonzero().squeeze(1)
    return rows[chosen], view.take(chosen), {name: part.index_select(0, chosen) for name, part in state.items()}


def _view(problem: Problem, rows: Tensor) -> Problem:
    everything = len(rows) == len(problem) and bool((rows[1:] > rows[:-1]).all())
    return problem if everything else problem.take(rows)


class _Queue:
    """Jobs that wait, first members first."""

    def __init__(self, problem: Problem, members: Tensor) -> None:
        everyone = torch.arange(len(problem), device=members.device)
        self._problem = problem
        self._rows = everyone.repeat(len(members))
        self._members = members.repeat_interleave(len(everyone))

    @property
    def left(self) -> bool:
        return len(self._rows) > 0

    def empty(self) -> Tensor:
        return self._rows[:0]

    def next(self, count: int) -> tuple[Tensor, Tensor]:
        """Rows and members of at most `count` jobs whose rows are not done."""
        wanted = self._problem.alive()[self._rows]
        self._rows, self._members = self._rows[wanted], self._members[wanted]
        found = self._rows[:count], self._members[:count]
        self._rows, self._members = self._rows[count:], self._members[count:]
        return found
