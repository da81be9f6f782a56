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

from adversarial.entries import TaskEntry
from adversarial.errors import (
    DeadlineReached,
    MachineFault,
    ModelError,
    NotApplicable,
    RobustArenaError,
    UnavailableData,
    is_machine_fault,
)
from adversarial.registry import Registry, resolve
from benchmarks.catalog import catalog
from benchmarks.running.cells import PlannedCell
from benchmarks.running.workplace import NOWHERE, Workplace
from benchmarks.suites.suite import NONE
from leaderboard.records.record import Cell, Cost, Diagnostic, Result, Status
from tasks.data import CustomData, open_data
from tasks.models.cards import model_hash


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


def measure(planned: PlannedCell, place: Workplace = NOWHERE) -> Measured:
    """On the first device of the workplace. Never raises for what a cell does: every outcome is a record.

    `n/a` where the pair does not fit, `timeout` where the time was over, `failed` for anything else.
    """
    start = time.monotonic()
    if planned.reason:
        return _without_numbers(planned, "n/a", planned.reason, start)
    try:
        result, evidence = _measure(planned, place, start)
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


def _measure(planned: PlannedCell, place: Workplace, start: float) -> tuple[Result, bytes]:
    import torch

    from adversarial.ledger import Ledger
    from tasks.measuring.protocol import GoalName, Trial

    cell = planned.cell
    torch.set_num_threads(cell.threads)
    registry = registry_of(place.plugins)
    entry = registry.task(cell.task)
    _check_plugins(cell, registry)
    device = torch.device(place.devices[0])
    source = place.sources[cell.task, cell.model] if planned.custom else ""
    data = data_of(planned, place)
    task, victim = _loaded(place.plugins, cell.task, data, source, cell.model, cell.model_hash, device)
    clean = cell.attack == NONE and cell.threat == NONE
    function = partial(resolve(registry.attack(cell.attack).code), **cell.params)
    fitted = planned.stage == "fit"
    trial = Trial(
        threat=None if clean else registry.threat(cell.threat),
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
        surrogates=tuple(task.load_victim(Path(entry.folder) / name, device) for name in planned.surrogates),
        half=cell.dtype == "bfloat16",
    )
    _check_supplies(planned, entry, None if data is None else open_data(data))
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
        examples=measurement.examples,
        cost=Cost(ledger.forwards, ledger.backwards, ledger.queries, ledger.environment_steps),
        diagnostics=tuple(Diagnostic(f.name, f.severity, f.detail) for f in measurement.findings),
    ), evidence


def task_of_cell(planned: PlannedCell, place: Workplace) -> Task:
    """The task that a cell is of, on the data that it is measured on."""
    return _task(place.plugins, planned.cell.task, data_of(planned, place))


def data_of(planned: PlannedCell, place: Workplace) -> Path | None:
    """The folder of the data that a cell is on, where they are a user's own. Raises UnavailableData."""
    if not planned.data:
        return None
    if planned.data not in place.data:
        raise UnavailableData(f"{planned.cell.label} is on own data {planned.data[:12]}, which are not here")
    return place.data[planned.data]


@lru_cache(maxsize=8)
def registry_of(plugins: tuple[Path, ...]) -> Registry:
    """The registry of this process: a spawned worker has not run the plugin files yet."""
    return catalog(plugins)


def _check_plugins(cell: Cell, registry: Registry) -> None:
    """Raises MachineFault where another plugin is here than the one that the cell was planned with."""
    for origin, digest in cell.plugins.items():
        if registry.plugins.get(origin) != digest:
            raise MachineFault(f"{cell.label} was planned with another {origin} than the one that is here")


def _check_supplies(planned: PlannedCell, entry: TaskEntry, data: CustomData | None) -> None:
    """Raises MachineFault where other surrogates or other data are here than those that the cell was planned with."""
    cell = planned.cell
    found = " ".join(f"{name}={model_hash(Path(entry.folder) / name)}" for name in planned.surrogates)
    if found != cell.options.get("surrogates", ""):
        raise MachineFault(f"{cell.label} was planned with other reference models than those that are here")
    data_hash = resolve(entry.data_hash) if data is None else data.data_hash
    if data_hash(cell.split) != cell.data_hash:
        raise MachineFault(f"{cell.label} was planned on other data than those that are here")


@lru_cache(maxsize=2)
def _task(plugins: tuple[Path, ...], task: str, data: Path | None) -> Task:
    from tasks.data.making import task_of

    return task_of(registry_of(plugins).task(task), None if data is None else open_data(data))


@lru_cache(maxsize=1)
def _loaded(
    plugins: tuple[Path, ...],
    task_name: str,
    data: Path | None,
    source: str,
    model: str,
    hash: str,
    device: torch.device,
) -> tuple[Task, Victim]:
    """The last model used: a worker gets a model's cells one after the other.

    Raises ModelError where it is not the one that was planned: its numbers would stand under another's hash.
    """
    registry, task = registry_of(plugins), _task(plugins, task_name, data)
    entry = registry.task(task_name)
    folder = Path(entry.folder) / model
    if not source:
        if model_hash(folder) != hash:
            raise ModelError(f"{entry.name}/{model} is not the reference model that the cells were planned with")
        return task, task.load_victim(folder, device)
    from tasks.models import load_source, parse

    given = None if data is None else open_data(data)
    loaded = load_source(parse(source, registry), entry, registry, device, given)
    if loaded.hash != hash:
        raise ModelError(
            f"{source} is another model than when the cells were planned: its files changed, or its weights are drawn "
            "anew each time; keep the files as they are, save the weights or fix their seed, and run again"
        )
    return task, loaded.victim
