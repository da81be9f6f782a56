"""Measuring one cell: load what it names, attack, audit, and make its record. Runs in a worker."""

from __future__ import annotations

import resource
import sys
import time
import traceback
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from adversarial.errors import DeadlineReached, ModelError, NotApplicable, RobustArenaError, is_machine_fault
from adversarial.registry import Registry, resolve
from benchmarks.running.planning import PlannedCell
from benchmarks.suites import NONE
from leaderboard.records.record import Cost, Diagnostic, Examples, Result, Status
from tasks.data import open_data


if TYPE_CHECKING:
    import torch

    from adversarial.ledger import Ledger
    from adversarial.victims import Victim
    from tasks.measuring.protocol import Measurement, Task


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished cell on its way to the run folder.

    evidence: the safetensors file of adversarial examples, empty where there is none. trace: a failed cell's stack
    trace. peak_memory_bytes: of the process so far. machine_fault: whether it failed for want of memory, files,
    packages or data.
    """

    result: Result
    evidence: bytes
    seconds: float
    peak_memory_bytes: int
    trace: str = ""
    machine_fault: bool = False


def measure(planned: PlannedCell) -> Measured:
    """Never raises for what a cell does: every outcome is a record.

    `n/a` where the pair does not fit, `timeout` where the time was over, `failed` for anything else.
    """
    start = time.monotonic()
    if planned.reason:
        return _without_numbers(planned, "n/a", planned.reason, start)
    try:
        result, evidence = _measure(planned, start)
    except NotApplicable as error:
        return _without_numbers(planned, "n/a", str(error), start)
    except DeadlineReached:
        return _without_numbers(planned, "timeout", f"not finished within {planned.timeout_seconds:g} s", start)
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, RobustArenaError) else f"{type(error).__name__}: "
        without = _without_numbers(planned, "failed", f"{kind}{error}" or kind, start, traceback.format_exc())
        return replace(without, machine_fault=is_machine_fault(error))
    return Measured(result, evidence, time.monotonic() - start, peak_memory_bytes())


def failed(planned: PlannedCell, status: Status, reason: str, seconds: float) -> Measured:
    """The record of a cell whose worker is gone."""
    return Measured(Result(planned.id, planned.cell, status, reason=reason), b"", seconds, 0)


def peak_memory_bytes() -> int:
    """The most memory that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _without_numbers(planned: PlannedCell, status: Status, reason: str, start: float, trace: str = "") -> Measured:
    result = Result(planned.id, planned.cell, status, reason=reason)
    return Measured(result, b"", time.monotonic() - start, peak_memory_bytes(), trace)


def _measure(planned: PlannedCell, start: float) -> tuple[Result, bytes]:
    import torch

    from adversarial.ledger import Ledger
    from adversarial.threats import Threat
    from tasks.measuring.protocol import GoalName, Trial

    cell = planned.cell
    torch.set_num_threads(cell.threads)
    _load_plugins(planned.plugins)
    device = torch.device(planned.device)
    where = planned.model_folder, planned.source
    task, victim = _loaded(planned.task_code, planned.data, *where, cell.model_hash, device)
    clean = cell.attack == NONE and cell.threat == NONE
    function = partial(resolve(planned.attack_code), **cell.params)
    fitted = planned.stage == "fit"
    trial = Trial(
        threat=None if clean else Threat.parse(cell.threat),
        attack=None if clean or fitted else function,
        fit=function if fitted else None,
        goal=msgspec.convert(cell.goal, GoalName),
        seed=cell.seed,
        split=cell.split,
        limit=cell.limit,
        batch_size=cell.batch_size,
        device=device,
        queue=planned.queue,
        curve=planned.curve,
        minimum_norm=planned.minimum_norm,
        surrogates=tuple(task.load_victim(Path(folder), device) for folder in planned.surrogate_folders),
        half=cell.dtype == "bfloat16",
    )
    ledger = Ledger(deadline=start + planned.timeout_seconds)
    measurement = task.measure(victim, trial, ledger)
    return as_result(planned, task, measurement, ledger)


def as_result(planned: PlannedCell, task: Task, measurement: Measurement, ledger: Ledger) -> tuple[Result, bytes]:
    """A measurement as a record and its evidence file."""
    from safetensors.torch import save

    evidence = save(dict(measurement.evidence)) if measurement.evidence else b""
    return Result(
        id=planned.id,
        cell=planned.cell,
        status="ok",
        metric=task.metric,
        examples=Examples(
            ids=measurement.ids,
            values=measurement.values,
            weights=measurement.weights,
            distances=measurement.distances,
            columns=dict(measurement.columns),
        ),
        cost=Cost(ledger.forwards, ledger.backwards, ledger.queries, ledger.environment_steps),
        diagnostics=tuple(Diagnostic(f.name, f.severity, f.detail) for f in measurement.findings),
    ), evidence


def task_of_cell(planned: PlannedCell) -> Task:
    """The task that a cell is of, on the data that it is measured on."""
    return _task(planned.task_code, planned.data)


@lru_cache(maxsize=2)
def _task(task_code: str, data: str) -> Task:
    task: Task = resolve(task_code)(*([open_data(Path(data))] if data else []))
    return task


@lru_cache(maxsize=1)
def _loaded(
    task_code: str, data: str, model_folder: str, source: str, model_hash: str, device: torch.device
) -> tuple[Task, Victim]:
    """The last model used: a worker gets a model's cells one after the other.

    Raises ModelError where what is brought is not what was planned: its numbers would stand under another's hash.
    """
    task = _task(task_code, data)
    if not source:
        return task, task.load_victim(Path(model_folder), device)
    from tasks.models import bring, parse

    brought = bring(parse(source), task.name, device, open_data(Path(data)) if data else None)
    if brought.hash != model_hash:
        raise ModelError(
            f"{source} is another model than when the cells were planned: its files changed, or its weights are drawn "
            "anew each time; keep the files as they are, save the weights or fix their seed, and run again"
        )
    return task, brought.victim


@lru_cache(maxsize=8)
def _load_plugins(plugins: tuple[str, ...]) -> None:
    # A spawned worker has not run the plugin files yet, and entries name code inside them.
    registry = Registry()
    for plugin in plugins:
        registry.load_plugin(Path(plugin))
