"""Telling people how a run goes: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.status import Status

from benchmarks.running.cells import PlannedCell
from benchmarks.running.estimating import Estimate
from benchmarks.running.measuring import Measured


class RunProgress:
    """Counts cells, and says how much time is left, once there is something to tell it from."""

    def __init__(self, console: Console, cells: Sequence[PlannedCell], workers: int) -> None:
        self._console = console
        self._left = {cell.id: cell for cell in cells if not cell.reason}
        self._total, self._done, self._workers = len(cells), 0, max(workers, 1)
        self._estimate = Estimate(self._workers)
        self._running: dict[str, str] = {}
        self._start = time.monotonic()
        self._status: Status | None = None

    def __enter__(self) -> RunProgress:
        if self._console.is_terminal and self._total:
            spinner = "dots" if self._console.encoding.startswith("utf") else "line"
            self._status = self._console.status("starting", spinner=spinner)
            self._status.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._status is not None:
            self._status.stop()

    def started(self, planned: PlannedCell) -> None:
        self._running[planned.id] = planned.cell.label
        self._show()

    def finished(self, planned: PlannedCell, measured: Measured) -> None:
        self._running.pop(planned.id, None)
        self._left.pop(planned.id, None)
        self._done += 1
        if measured.result.status == "ok":
            self._estimate.ended(planned, measured.seconds)
        status = measured.result.status
        text = f"[{self._done}/{self._total}] {status:<7} {planned.cell.label} ({measured.seconds:.1f} s)"
        if status in ("failed", "timeout"):
            text += f": {measured.result.reason}"
        left = self._time_left()
        if self._status is None and left is not None and self._left:
            text += f", {_clock(left)} left"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        if measured.trace:
            self._console.print(measured.trace, markup=False, highlight=False, style="dim", soft_wrap=True)
        self._show()

    def _show(self) -> None:
        if self._status is None:
            return
        left = self._time_left()
        clock = _clock(time.monotonic() - self._start)
        remaining = "" if left is None else f", about {_clock(left)} left"
        running = "; ".join(self._running.values())
        self._status.update(f"{self._done}/{self._total} cells in {clock}{remaining}: {running}")

    def _time_left(self) -> float | None:
        """Seconds; None before there is anything to tell them from."""
        left = self._estimate.left(self._left.values())
        return None if left is None else left / self._workers


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes}:{rest:02d}"
