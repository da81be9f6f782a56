"""Who measures the cells: this process, or several workers that each keep one loaded model."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final, Protocol

from adversarial.errors import InvalidOption
from benchmarks.running.cells import PlannedCell
from benchmarks.running.devices import CPU
from benchmarks.running.measuring import Measured, failed, measure
from benchmarks.running.workplace import Workplace


# A worker notices its deadline at the next forward pass; one that does not is ended after this much longer.
GRACE_SECONDS: Final = 30.0

Started = Callable[[PlannedCell], None]


class Executor(Protocol):
    """Measures cells and yields each as it ends; a failing cell never stops the others."""

    def workers(self, place: Workplace) -> int:
        """How many cells are measured at a time."""

    def run(
        self, cells: Sequence[PlannedCell], place: Workplace, started: Started
    ) -> Iterator[tuple[PlannedCell, Measured]]: ...


class Serial:
    """One cell after the other in this process."""

    def __init__(self, workers: int | None = None) -> None:
        if workers not in (None, 1):
            raise InvalidOption(f"the executor serial is one worker, not {workers}; choose process for several")

    def workers(self, place: Workplace) -> int:  # noqa: ARG002
        return 1

    def run(
        self, cells: Sequence[PlannedCell], place: Workplace, started: Started
    ) -> Iterator[tuple[PlannedCell, Measured]]:
        for planned in cells:
            started(planned)
            yield planned, measure(planned, place)


class Process:
    """Spawned workers. A worker that dies or hangs costs the cell in flight, and another takes its place.

    workers: all cores by default. An accelerator has one worker, however many are asked for.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._most = workers or os.cpu_count() or 1

    def workers(self, place: Workplace) -> int:
        return self._most if place.devices == (CPU,) else min(self._most, len(place.devices))

    def run(
        self, cells: Sequence[PlannedCell], place: Workplace, started: Started
    ) -> Iterator[tuple[PlannedCell, Measured]]:
        waiting = list(cells)
        devices = cycle(place.devices)
        workers = [_Worker(place.on(next(devices))) for _ in range(min(self.workers(place), len(waiting)))]
        try:
            while waiting or any(worker.planned for worker in workers):
                for worker in workers:
                    if worker.planned is None and waiting:
                        planned = waiting.pop(_next_for(worker, workers, waiting))
                        started(planned)
                        worker.give(planned)
                busy = [worker for worker in workers if worker.planned]
                ready = wait([worker.connection for worker in busy], timeout=1.0)
                for worker in busy:
                    done = worker.finished(worker.connection in ready)
                    if done is not None:
                        yield done
        finally:
            for worker in workers:
                worker.stop()


@dataclass(slots=True)
class _Worker:
    place: Workplace
    process: BaseProcess = field(init=False)
    connection: Connection = field(init=False)
    planned: PlannedCell | None = None
    group: tuple[str, str] | None = None
    since: float = 0.0

    def __post_init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a forked child of a threaded torch process may hang
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.place), daemon=True)
        with _uninterrupted():
            self.process.start()
        theirs.close()

    def give(self, planned: PlannedCell) -> None:
        try:
            self.connection.send(planned)
        except OSError:  # it died while it was idle
            self._replace()
            self.connection.send(planned)
        self.planned, self.group, self.since = planned, planned.group, time.monotonic()

    def finished(self, ready: bool) -> tuple[PlannedCell, Measured] | None:
        """The cell that ended, if one did; replaces a process that is dead or far beyond its deadline."""
        planned, seconds = self.planned, time.monotonic() - self.since
        assert planned is not None
        if ready:
            try:
                measured: Measured = self.connection.recv()
            except (EOFError, OSError):
                self.process.join(5)
                reason = f"the worker died (exit code {self.process.exitcode}); it may have run out of memory"
                measured = failed(planned, "failed", reason, seconds)
                self._replace()
        elif seconds > planned.timeout_seconds + GRACE_SECONDS:
            measured = failed(planned, "timeout", f"not finished within {planned.timeout_seconds:g} s", seconds)
            self._replace()
        else:
            return None
        self.planned = None
        return planned, measured

    def _replace(self) -> None:
        self.stop()
        self.group = None
        self._start()

    def stop(self) -> None:
        self.connection.close()
        if self.process.is_alive():
            self.process.terminate()
            self.process.join(5)
            if self.process.is_alive():
                self.process.kill()
                self.process.join()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process that starts within it never hears of Ctrl-C, which a terminal sends to all: its parent ends it."""
    resource_tracker.ensure_running()  # its own start, within the first process's, would let the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _next_for(worker: _Worker, workers: Sequence[_Worker], waiting: Sequence[PlannedCell]) -> int:
    """The worker's own model first, then a model that nobody has loaded, then the one with the most left."""
    groups = [planned.group for planned in waiting]
    if worker.group in groups:
        return groups.index(worker.group)
    taken = {other.group for other in workers if other.planned}
    free = [index for index, group in enumerate(groups) if group not in taken]
    if free:
        return free[0]
    # Helping another worker out: from the far end, where the dearest cells are.
    return len(groups) - 1


def _serve(connection: Connection, place: Workplace) -> None:
    """A worker's whole life: a cell in, a measurement out, until the pipe closes."""
    while True:
        try:
            planned = connection.recv()
            connection.send(measure(planned, place))
        except (EOFError, OSError):
            return
