"""How long cells will take, from those that have ended: what a task costs, what this machine makes of it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from benchmarks.running.cells import PlannedCell


SMALLEST: Final = 0.002  # seconds; below, ratios say nothing
DOUBT: Final = 0.3  # of an observation: how much what was expected still weighs


class Estimate:
    """Seconds of cells to come. The first cell of each worker says nothing: it is loading for the most part."""

    def __init__(self, workers: int = 1) -> None:
        self._loading = workers
        self._ratios: dict[str, list[float]] = defaultdict(list)
        self._trials: dict[tuple[str, str, str], list[float]] = defaultdict(list)

    def ended(self, planned: PlannedCell, seconds: float) -> None:
        """Learns from a cell that was measured."""
        if self._loading:
            self._loading -= 1
            return
        self._ratios[planned.cell.task].append(math.log((seconds + SMALLEST) / (expected(planned) + SMALLEST)))
        self._trials[_trial(planned)].append(seconds)

    def left(self, cells: Iterable[PlannedCell]) -> float | None:
        """Seconds of one worker for these cells; None before anything is known."""
        if not self._ratios:
            return None
        return sum(self._of(planned) for planned in cells if not planned.reason)

    def _of(self, planned: PlannedCell) -> float:
        """As long as the same trial took on other models; else what is expected, at the pace of task and machine."""
        if found := self._trials.get(_trial(planned)):
            return sum(found) / len(found)
        pace = _mean(0.0, [_mean(0.0, ratios) for ratios in self._ratios.values()])
        pace = _mean(pace, self._ratios.get(planned.cell.task, []))
        return math.exp(pace) * expected(planned)


def expected(planned: PlannedCell) -> float:
    """Seconds that a cell would take on the machine that the paces of tasks are of."""
    pace, limit = planned.pace, planned.cell.limit
    rows = pace.rows if limit is None else min(limit, pace.rows)
    return pace.cell + pace.effort * planned.effort * math.sqrt(
        rows / pace.rows
    )  # half of the rows take more than half


def _trial(planned: PlannedCell) -> tuple[str, str, str]:
    return planned.cell.task, planned.cell.attack, planned.cell.threat


def _mean(before: float, logs: list[float]) -> float:
    """A mean that starts from what was held before."""
    return (DOUBT * before + sum(logs)) / (DOUBT + len(logs))
