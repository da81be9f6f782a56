"""Re-checking a bundle: its bytes, its adversarial examples with one forward each, and some of its cells from scratch.

Stored examples prove successes only, and a cheat would leave the others out; so cells that nobody could foresee are
measured again.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adversarial.errors import RobustArenaError, is_machine_fault
from adversarial.registry import Registry
from benchmarks.running.cells import ModelRef, PlannedCell
from benchmarks.running.devices import CPU
from benchmarks.running.planning import Settings, plan_cells
from benchmarks.running.workplace import Workplace
from benchmarks.suites.suite import NONE
from benchmarks.verifying.cells import measured_again, rescored
from benchmarks.verifying.opening import carried_model, open_here, ranking_threat, settings_of, source_text, suite_of
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import Bundle
from leaderboard.bundle.writing import extract
from leaderboard.records.threats import without_access
from leaderboard.records.verdict import LONGEST, Verdict, VerdictLevel


if TYPE_CHECKING:
    from tasks.data import CustomData


LARGEST_BATCH: Final = 4_096
GOALS: Final = ("flip", "worst", "target")

Report = Callable[[str], None]


def verify(
    path: Path,
    registry: Registry,
    *,
    rerun: int = 0,
    nonce: str = "",
    report: Report = lambda _: None,
    data: Sequence[CustomData] = (),
    device: str = CPU,
    plugins: Sequence[Path] = (),
) -> Verdict:
    """The highest level that a bundle reaches. rerun: how many cells are measured again; nonce: what draws them. data:
    what bundles on own data may be of. device: what asks the model, whatever measured the bundle. plugins: the files
    that the registry was made with.

    Raises OSError, MemoryError, UnavailableData and MissingDependency for what this machine lacks, of which the bundle
    is innocent.
    """
    try:
        bundle = open_here(path, registry)
    except BundleError as error:
        return Verdict("", "refused", (_line(str(error)),))
    try:
        settings = settings_of(bundle.manifest.suite, data)
        place = Workplace.of(plugins, settings.data, device)
        if bundle.manifest.kind == "stronger-attack":
            return _stronger(bundle, registry, settings, place)
        return _verified(bundle, registry, settings, place, rerun, nonce, report)
    except Exception as error:  # a stranger's model and examples may break anything
        if is_machine_fault(error):
            raise  # another attempt may end otherwise
        kind = "" if isinstance(error, RobustArenaError) else f"verification ended with {type(error).__name__}: "
        return Verdict(bundle.id, "refused", (_line(f"{kind}{error}"),))


def drawn(bundle_id: str, nonce: str, cells: Sequence[str], count: int, ranking: Sequence[str] = ()) -> tuple[str, ...]:
    """The cells to measure again: those whose hash with bundle and nonce is smallest, so that nobody can choose.

    ranking: cells that decide the rank; of them come at least as many as of the others, where there are as many.
    """

    def shuffled(names: Sequence[str]) -> list[str]:
        return sorted(names, key=lambda cell: hashlib.sha256(f"{bundle_id}:{nonce}:{cell}".encode()).digest())

    first = shuffled(ranking)[: (count + 1) // 2]
    rest = shuffled([cell for cell in cells if cell not in first])
    return tuple(sorted((first + rest)[:count]))


def _ranking(bundle: Bundle, registry: Registry, planned: Iterable[PlannedCell]) -> list[str]:
    """The measured attacks under the threat that ranks the entry."""
    threat = ranking_threat(bundle, registry)
    ids = {cell.id for cell in planned if cell.cell.attack != NONE and without_access(cell.cell.threat) == threat}
    return sorted(name for name in ids & bundle.records.keys() if bundle.records[name].status == "ok")


def _line(text: str) -> str:
    """As much of a text as a verdict holds, without the places of this machine."""
    return text.replace(tempfile.gettempdir(), "")[:LONGEST]


def _verified(
    bundle: Bundle, registry: Registry, settings: Settings, place: Workplace, rerun: int, nonce: str, report: Report
) -> Verdict:
    planned = {cell.id: cell for cell in _expected(bundle, registry, settings)}
    if planned.keys() != bundle.manifest.plan.keys():
        missing, foreign = planned.keys() - bundle.manifest.plan.keys(), bundle.manifest.plan.keys() - planned.keys()
        raise BundleError(
            f"the plan is not that of {bundle.manifest.suite} here: {len(missing)} of its {len(planned)} cells are "
            f"missing and {len(foreign)} are others; another library version, suite or data makes other cells"
        )
    _check_reasons(bundle, planned)
    if not bundle.model_files:
        return Verdict(bundle.id, "claimed", ("the bundle carries no model, so nothing can be asked again",))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        extract(bundle, folder)
        model = carried_model(bundle, registry, folder / "model", settings.data, place)
        entry = bundle.manifest.entry
        place = replace(place, sources={(entry.task, entry.name): source_text(bundle, registry, folder / "model")})
        checks = {}
        for number, cell_id in enumerate(sorted(bundle.records), 1):
            report(f"re-scoring {number} of {len(bundle.records)}: {bundle.manifest.plan[cell_id]}")
            checks[cell_id] = rescored(bundle.records[cell_id], planned[cell_id], bundle, model, place)
        ranking = _ranking(bundle, registry, planned.values())
        for cell_id in ranking:
            if checks[cell_id].check == "claimed":
                raise BundleError(
                    f"{checks[cell_id].label}: cannot be re-scored, and it ranks: {checks[cell_id].detail}"
                )
        candidates = [cell_id for cell_id, result in bundle.records.items() if result.status == "ok"]
        again = drawn(bundle.id, nonce, candidates, rerun, ranking)
        for number, cell_id in enumerate(again, 1):
            report(f"measuring again {number} of {len(again)}: {bundle.manifest.plan[cell_id]}")
            checks[cell_id] = measured_again(bundle.records[cell_id], planned[cell_id], checks[cell_id], place)
    level: VerdictLevel = "re-run" if again else "re-scored"
    reasons = [f"{len(bundle.absent)} cells are missing and count as no result"] if bundle.absent else []
    return Verdict(bundle.id, level, tuple(reasons), tuple(checks[cell_id] for cell_id in sorted(checks)))


def _stronger(bundle: Bundle, registry: Registry, settings: Settings, place: Workplace) -> Verdict:
    """Better examples against an entry say all by themselves: how they were found is of no account."""
    manifest = bundle.manifest
    first = _expected(bundle, registry, settings)[0]
    like, threat = first.cell, ranking_threat(bundle, registry)
    if not bundle.model_files:
        raise BundleError("the bundle carries no model, so its examples cannot be shown to it")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        extract(bundle, folder)
        model = carried_model(bundle, registry, folder / "model", settings.data, place)
        checks = []
        for cell_id, result in sorted(bundle.records.items()):
            cell, label = result.cell, result.cell.label
            same = (cell.data_hash, cell.split, cell.limit) == (like.data_hash, like.split, like.limit)
            same &= cell.goal in GOALS and 1 <= cell.batch_size <= LARGEST_BATCH
            if result.status != "ok" or not result.artifacts or not same or without_access(cell.threat) != threat:
                raise BundleError(f"{label}: expected stored examples on the data of {manifest.suite} under {threat}")
            planned = PlannedCell(cell, 0.0, id=cell_id, data=first.data)
            check = rescored(result, planned, bundle, model, place)
            if check.check != "re-scored":
                raise BundleError(f"{label}: its examples cannot be shown to the model: {check.detail}")
            checks.append(check)
    return Verdict(bundle.id, "re-scored", (), tuple(checks))


def _expected(bundle: Bundle, registry: Registry, settings: Settings) -> tuple[PlannedCell, ...]:
    """The suite's cells for the bundle's model, planned here: only these count."""
    manifest = bundle.manifest
    suite = suite_of(bundle, registry)
    model = ModelRef(manifest.entry.name, manifest.model_hash, manifest.entry.defense, source="bundle")
    return plan_cells(suite, registry, settings, models={manifest.entry.task: (model,)})


def _check_reasons(bundle: Bundle, planned: Mapping[str, PlannedCell]) -> None:
    """What a plan says cannot be run has no number, and what it says can be run is not n/a without a model's reason."""
    for cell_id, result in bundle.records.items():
        label, reason = bundle.manifest.plan[cell_id], planned[cell_id].reason
        if reason and result.status != "n/a":
            raise BundleError(f"{label}: is {result.status}, and the suite says n/a: {reason}")
        if reason and result.reason != reason:
            raise BundleError(f"{label}: n/a for another reason than the suite's: {result.reason}")
