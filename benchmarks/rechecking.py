"""Checking one cell of a bundle: its stored examples shown to the model again, or the whole measurement repeated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from adversarial.errors import NotApplicable
from benchmarks.measuring import measure, task_of_cell
from benchmarks.planning import PlannedCell
from benchmarks.suites import NONE
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import Bundle
from leaderboard.results import Examples, Result


if TYPE_CHECKING:
    from tasks.bring import Brought
    from tasks.protocol import Rescored, Task


# Kernels of another machine round otherwise, which may flip a row that stands on its decision.
DIFFERING_SHARE: Final = 0.01
FEW: Final = 8  # examples that show whether an attack applies


class CellCheck(msgspec.Struct, frozen=True):
    """What was checked of one cell. check: `re-scored`, `re-run`, or `claimed` with the reason in detail."""

    id: str
    label: str
    check: str
    detail: str = ""


def rescored(result: Result, planned: PlannedCell, bundle: Bundle, brought: Brought) -> CellCheck:
    """Asks the model about a cell's stored examples, one forward each; a clean pass is simply made again.

    Raises BundleError where they are over budget, or do not do what the record says.
    """
    label = planned.cell.label
    if result.status == "n/a" and not planned.reason:
        return _still_not_applicable(result, planned)
    if result.status != "ok":
        return CellCheck(result.id, label, "claimed", f"{result.status}: {result.reason}")
    assert result.examples is not None
    task = task_of_cell(planned)
    if planned.cell.attack == NONE:
        found = _clean(task, brought, planned)
    elif not result.artifacts:
        raise BundleError(f"{label}: stores no adversarial examples")
    else:
        try:
            found = _of_evidence(task, brought, planned, bundle.evidence(result.id))
        except NotApplicable as error:
            return CellCheck(result.id, label, "claimed", str(error))
    _compare(label, result.examples, found, task.metric.ceiling > task.metric.floor)
    return CellCheck(result.id, label, "re-scored", f"{len(found.ids)} examples")


def _still_not_applicable(result: Result, planned: PlannedCell) -> CellCheck:
    """An attack that the model itself rules out is tried again: or else a cheat would rule out the strong ones."""
    again = measure(replace(planned, cell=msgspec.structs.replace(planned.cell, limit=FEW))).result
    if again.status != "n/a":
        raise BundleError(f"{planned.cell.label}: claimed n/a ({result.reason}), and here it is {again.status}")
    return CellCheck(result.id, planned.cell.label, "re-run", f"n/a: {again.reason}")


def _clean(task: Task, brought: Brought, planned: PlannedCell) -> Rescored:
    from adversarial.ledger import Ledger
    from tasks.protocol import Rescored

    trial = _trial(planned)
    measured = task.measure(brought.victim, trial, Ledger())
    return Rescored(measured.ids, measured.values, measured.distances, (False,) * len(measured.ids))


def _of_evidence(task: Task, brought: Brought, planned: PlannedCell, data: bytes) -> Rescored:
    from safetensors.torch import load

    return task.rescore(brought.victim, _trial(planned), load(data))


def _trial(planned: PlannedCell) -> Any:
    import torch

    from adversarial.threats import Threat
    from tasks.protocol import Trial

    cell = planned.cell
    return Trial(
        threat=None if cell.threat == NONE else Threat.parse(cell.threat),
        attack=None,
        goal=cell.goal,  # type: ignore[arg-type]
        seed=cell.seed,
        split=cell.split,
        limit=cell.limit,
        batch_size=cell.batch_size,
        device=torch.device("cpu"),
    )


def _compare(label: str, examples: Examples, found: Rescored, higher_is_better: bool) -> None:
    """Refuses what is over budget, and values that the stored examples do not have."""
    if examples.ids != found.ids:
        raise BundleError(f"{label}: the examples are not those of the data")
    beyond = [row for row, over in enumerate(found.over) if over]
    if beyond:
        raise BundleError(f"{label}: {len(beyond)} adversarial examples are over budget; first {found.ids[beyond[0]]}")
    rows = zip(examples.values, found.values, strict=True)
    differing = [row for row, (claimed, value) in enumerate(rows) if abs(claimed - value) > 1e-6 * max(1, abs(value))]
    if len(differing) > DIFFERING_SHARE * len(found.ids):
        row = differing[0]
        better = (examples.values[row] > found.values[row]) == higher_is_better
        raise BundleError(
            f"{label}: {len(differing)} of {len(found.ids)} values are not what the stored examples do; first "
            f"{found.ids[row]}: claimed {examples.values[row]:g}, found {found.values[row]:g}"
            + (" (the model is worse than claimed)" if better else " (not adversarial)")
        )


def measured_again(result: Result, planned: PlannedCell) -> CellCheck:
    """Measures a cell from scratch; raises BundleError where it comes out otherwise."""
    label = planned.cell.label
    again = measure(planned).result
    if again.status != "ok" or again.examples is None or result.examples is None:
        raise BundleError(f"{label}: measured again it is {again.status}: {again.reason}")
    claimed, found = result.examples, again.examples
    if claimed.ids != found.ids:
        raise BundleError(f"{label}: the examples are not those of the data")
    pairs = list(zip(claimed.values, found.values, strict=True))
    differing = sum(abs(a - b) > 1e-6 * max(1, abs(b)) for a, b in pairs)
    if differing > max(1, DIFFERING_SHARE * len(pairs)):
        raise BundleError(f"{label}: measured again, {differing} of {len(pairs)} examples come out otherwise")
    exact = "the same to the last digit" if claimed == found else f"{differing} of {len(pairs)} values differ"
    return CellCheck(result.id, label, "re-run", exact)
