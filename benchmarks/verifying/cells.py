"""Checking one cell of a bundle: its stored examples shown to the model again, or the whole measurement repeated."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from adversarial.errors import MachineFault, NotApplicable
from benchmarks.running.cells import PlannedCell
from benchmarks.running.measuring import measure, task_of_cell
from benchmarks.running.workplace import Workplace
from benchmarks.suites.suite import NONE
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import Bundle
from leaderboard.records.record import BUDGET_PREFIX, Diagnostic, Examples, Result
from leaderboard.records.verdict import CellCheck


if TYPE_CHECKING:
    from tasks.measuring.protocol import Rescored, Task
    from tasks.models import LoadedModel


# Kernels of another machine round otherwise, which may flip a row that stands on its decision. It costs nothing to let
# a few pass: a board shows what the check found.
DIFFERING_SHARE: Final = 0.01
DEVIATIONS: Final = 2.0  # of a fair coin, by which a re-run may be worse on more examples than it is better
COST_SHARE: Final = 0.1  # rows that leave one pass later on another machine
LONGEST_DETAIL: Final = 1_000  # characters
FEW: Final = 8  # examples that show whether an attack applies


def rescored(result: Result, planned: PlannedCell, bundle: Bundle, model: LoadedModel, place: Workplace) -> CellCheck:
    """Asks the model about a cell's stored examples, one forward each; a clean pass is simply made again.

    Raises BundleError where they are over budget, or do not do what the record says.
    """
    label = planned.cell.label
    if result.status == "n/a" and not planned.reason:
        return _still_not_applicable(result, planned, place)
    if result.status != "ok":
        return CellCheck(result.id, label, "claimed", f"{result.status}: {result.reason}"[:LONGEST_DETAIL])
    assert result.examples is not None
    task = task_of_cell(planned, place)
    diagnostics: tuple[Diagnostic, ...] = ()
    _check_columns(label, result.examples, planned)
    if planned.cell.attack == NONE:
        found, diagnostics = _clean(task, model, planned, place)
    elif not result.artifacts:
        raise BundleError(f"{label}: stores no adversarial examples")
    else:
        try:
            found = _of_evidence(task, model, planned, place, bundle.evidence(result.id))
        except NotApplicable as error:
            return CellCheck(result.id, label, "claimed", str(error)[:LONGEST_DETAIL])
    corrected = _compare(label, result.examples, found, task.metric.ceiling > task.metric.floor)
    detail = f"{len(found.ids)} examples" + (f", {len(corrected)} corrected" if corrected else "")
    return CellCheck(result.id, label, "re-scored", detail, corrected, diagnostics=diagnostics)


def _check_columns(label: str, examples: Examples, planned: PlannedCell) -> None:
    """Curves have the suite's budgets, or none: nobody draws further ones."""
    allowed = {f"{BUDGET_PREFIX}{share:g}" for share in (1.0, *planned.curve)}
    found = {name for name in examples.columns if name.startswith(BUDGET_PREFIX)}
    if not found <= allowed:
        raise BundleError(
            f"{label}: has columns {', '.join(sorted(found - allowed))}, which the suite does not ask for"
        )


def _still_not_applicable(result: Result, planned: PlannedCell, place: Workplace) -> CellCheck:
    """An attack that the model itself rules out is tried again: or else a cheat would rule out the strong ones."""
    again = _measured(replace(planned, cell=msgspec.structs.replace(planned.cell, limit=FEW)), place)
    if again.status != "n/a":
        raise BundleError(f"{planned.cell.label}: claimed n/a ({result.reason}), and here it is {again.status}")
    return CellCheck(result.id, planned.cell.label, "re-run", f"n/a: {again.reason}"[:LONGEST_DETAIL])


def _clean(
    task: Task, model: LoadedModel, planned: PlannedCell, place: Workplace
) -> tuple[Rescored, tuple[Diagnostic, ...]]:
    from adversarial.ledger import Ledger
    from tasks.measuring.protocol import Rescored

    trial = _trial(planned, place)
    measured = task.measure(model.victim, trial, Ledger())
    clean = measured.examples
    found = Rescored(clean.ids, clean.values, clean.weights, clean.distances, (False,) * len(clean.ids))
    return found, tuple(Diagnostic(one.name, one.severity, one.detail) for one in measured.findings)


def _of_evidence(task: Task, model: LoadedModel, planned: PlannedCell, place: Workplace, data: bytes) -> Rescored:
    from safetensors.torch import load

    return task.rescore(model.victim, _trial(planned, place), load(data))


def _trial(planned: PlannedCell, place: Workplace) -> Any:
    import torch

    from adversarial.threats import Threat
    from tasks.measuring.protocol import Trial

    cell = planned.cell
    return Trial(
        threat=None if cell.threat == NONE else Threat.parse(cell.threat),
        attack=None,
        goal=cell.goal,  # type: ignore[arg-type]
        seed=cell.seed,
        split=cell.split,
        limit=cell.limit,
        batch_size=cell.batch_size,
        device=torch.device(place.devices[0]),
    )


def _compare(label: str, examples: Examples, found: Rescored, higher_is_better: bool) -> dict[str, float]:
    """The values that the stored examples have where the record says otherwise; a few rounded otherwise are no fault.

    Raises BundleError for what is over budget, and for more than a few values that the stored examples do not have.
    """
    _check_same_examples(label, examples, found.ids, found.weights)
    beyond = [row for row, over in enumerate(found.over) if over]
    if beyond:
        raise BundleError(f"{label}: {len(beyond)} adversarial examples are over budget; first {found.ids[beyond[0]]}")
    differing = _differing(examples.values, found.values)
    if len(differing) > max(1, DIFFERING_SHARE * len(found.ids)):
        row = differing[0]
        better = (examples.values[row] > found.values[row]) == higher_is_better
        raise BundleError(
            f"{label}: {len(differing)} of {len(found.ids)} values are not what the stored examples do; first "
            f"{found.ids[row]}: claimed {examples.values[row]:g}, found {found.values[row]:g}"
            + (" (the model is worse than claimed)" if better else " (not adversarial)")
        )
    return {found.ids[row]: found.values[row] for row in differing}


def measured_again(result: Result, planned: PlannedCell, before: CellCheck, place: Workplace) -> CellCheck:
    """Measures a cell from scratch; raises BundleError where it comes out otherwise.

    before: what its stored examples showed. Of each example the worse of the two counts: both are true of the model.
    """
    label = planned.cell.label
    again = _measured(planned, place)
    if again.status != "ok" or again.examples is None or result.examples is None or again.metric is None:
        raise BundleError(f"{label}: measured again it is {again.status}: {again.reason}")
    claimed, found = result.examples, again.examples
    _check_same_examples(label, claimed, found.ids, found.weights)
    if claimed.columns.keys() != found.columns.keys():
        raise BundleError(f"{label}: measured again it has other columns: {', '.join(sorted(found.columns))}")
    stored = [before.corrected.get(name, value) for name, value in zip(claimed.ids, claimed.values, strict=True)]
    worse = min if again.metric.ceiling > again.metric.floor else max
    values = _worse_of(f"{label}: measured again, the examples", stored, found.values, worse)
    columns = {
        name: _worse_of(f"{label}: measured again, the examples of {name}", claimed.columns[name], column, worse)
        if name.startswith(BUDGET_PREFIX)
        else column
        for name, column in found.columns.items()
    }
    spent, needed = result.cost.forwards, again.cost.forwards
    if abs(spent - needed) > COST_SHARE * max(needed, 1):
        raise BundleError(f"{label}: measured again it took {needed} forwards, and {spent} are claimed")
    corrected = _corrections(claimed.ids, claimed.values, values)
    by_column = {name: _corrections(claimed.ids, claimed.columns[name], column) for name, column in columns.items()}
    by_column = {name: found for name, found in by_column.items() if found}
    same = claimed == found and result.diagnostics == again.diagnostics
    exact = "the same to the last digit" if same else f"{len(corrected)} of {len(values)} values corrected"
    diagnostics = tuple(dict.fromkeys((*before.diagnostics, *again.diagnostics)))
    return CellCheck(result.id, label, "re-run", exact, corrected, by_column, diagnostics)


def _measured(planned: PlannedCell, place: Workplace) -> Result:
    """A cell however long it takes, since whoever started this ends it; raises MachineFault for want of anything."""
    found = measure(replace(planned, timeout_seconds=math.inf), place)
    if found.machine_fault:
        raise MachineFault(found.result.reason)
    return found.result


def _check_same_examples(label: str, claimed: Examples, ids: Sequence[str], weights: Sequence[float]) -> None:
    if claimed.ids != tuple(ids):
        raise BundleError(f"{label}: the examples are not those of the data")
    if claimed.weights != tuple(weights):
        raise BundleError(f"{label}: the examples' weights are not those of the data")


def _worse_of(
    what: str, claimed: Sequence[float], found: Sequence[float], worse: Callable[[float, float], float]
) -> list[float]:
    """Of each example the worse value. Raises BundleError where more are claimed better than chance explains.

    Other kernels round otherwise, and a search then ends elsewhere: on some examples better, on as many worse. So only
    a lean to one side is a fault.
    """
    differing = _differing(claimed, found)
    better = sum(worse(claimed[row], found[row]) == found[row] for row in differing)
    excess = better - (len(differing) - better)
    allowed = max(1.0, DIFFERING_SHARE * len(found)) + DEVIATIONS * len(differing) ** 0.5
    if excess > allowed:
        raise BundleError(f"{what} come out worse than claimed: {better} of {len(found)}")
    return [worse(one, other) for one, other in zip(claimed, found, strict=True)]


def _corrections(ids: Sequence[str], claimed: Sequence[float], found: Sequence[float]) -> dict[str, float]:
    return {ids[row]: found[row] for row in _differing(claimed, found)}


def _differing(claimed: Sequence[float], found: Sequence[float]) -> list[int]:
    pairs = enumerate(zip(claimed, found, strict=True))
    return [row for row, (one, other) in pairs if abs(one - other) > 1e-6 * max(1.0, abs(other))]
