"""Re-checking a bundle: its bytes, its adversarial examples with one forward each, and some of its cells from scratch.

Stored examples prove successes only, and a cheat would leave the others out; so cells that nobody could foresee are
measured again.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adversarial.errors import RobustArenaError, UnavailableData, is_machine_fault
from adversarial.registry import Registry, resolve
from benchmarks.running.devices import CPU
from benchmarks.running.planning import ModelRef, PlannedCell, Settings, plan_cells
from benchmarks.running.workplace import Workplace
from benchmarks.submitting.entry import SOURCE_NAME, benchmark_version
from benchmarks.suites.suite import NONE, Suite, suite_named
from benchmarks.verifying.cells import measured_again, rescored
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import Bundle, Limits, open_bundle
from leaderboard.bundle.writing import extract
from leaderboard.records.metric import Metric
from leaderboard.records.threats import without_access
from leaderboard.records.verdict import LONGEST, VerdictLevel, Verdict


if TYPE_CHECKING:
    from tasks.data import OwnData
    from tasks.models import Brought


LARGEST_BATCH: Final = 4_096
GOALS: Final = ("flip", "worst", "target")
_SETTINGS: Final = re.compile(r"[^-]+(-(?P<data>data[0-9a-f]{12}))?(-limit(?P<limit>[1-9][0-9]{0,6}))?")

Report = Callable[[str], None]


def verify(
    path: Path,
    registry: Registry,
    *,
    rerun: int = 0,
    nonce: str = "",
    report: Report = lambda _: None,
    data: Sequence[OwnData] = (),
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


def open_here(path: Path, registry: Registry) -> Bundle:
    """A bundle that this version made, of tasks with the metrics that they have here; raises BundleError."""
    return open_bundle(path, Limits(), benchmark=benchmark_version(), metrics=_metrics(registry))


def drawn(bundle_id: str, nonce: str, cells: Sequence[str], count: int, ranking: Sequence[str] = ()) -> tuple[str, ...]:
    """The cells to measure again: those whose hash with bundle and nonce is smallest, so that nobody can choose.

    ranking: cells that decide the rank; of them come at least as many as of the others, where there are as many.
    """

    def shuffled(names: Sequence[str]) -> list[str]:
        return sorted(names, key=lambda cell: hashlib.sha256(f"{bundle_id}:{nonce}:{cell}".encode()).digest())

    first = shuffled(ranking)[: (count + 1) // 2]
    rest = shuffled([cell for cell in cells if cell not in first])
    return tuple(sorted((first + rest)[:count]))


def suite_of(bundle: Bundle, registry: Registry) -> Suite:
    """The suite that a bundle is of, whatever its settings; raises UnknownName."""
    return suite_named(registry, bundle.manifest.suite.partition("-")[0])


def ranking_threat(bundle: Bundle, registry: Registry) -> str:
    """What ranks the entry's task in its suite, without the access."""
    return without_access(suite_of(bundle, registry).ranking_threats[bundle.manifest.entry.task])


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
        brought = _brought(bundle, folder / "model", settings.data, place)
        entry = bundle.manifest.entry
        place = replace(place, sources={(entry.task, entry.name): source_text(bundle, folder / "model")})
        checks = {}
        for number, cell_id in enumerate(sorted(bundle.records), 1):
            report(f"re-scoring {number} of {len(bundle.records)}: {bundle.manifest.plan[cell_id]}")
            checks[cell_id] = rescored(bundle.records[cell_id], planned[cell_id], bundle, brought, place)
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
        brought = _brought(bundle, folder / "model", settings.data, place)
        checks = []
        for cell_id, result in sorted(bundle.records.items()):
            cell, label = result.cell, result.cell.label
            same = (cell.data_hash, cell.split, cell.limit) == (like.data_hash, like.split, like.limit)
            same &= cell.goal in GOALS and 1 <= cell.batch_size <= LARGEST_BATCH
            if result.status != "ok" or not result.artifacts or not same or without_access(cell.threat) != threat:
                raise BundleError(f"{label}: expected stored examples on the data of {manifest.suite} under {threat}")
            planned = PlannedCell(cell, 0.0, id=cell_id, data=first.data)
            check = rescored(result, planned, bundle, brought, place)
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


def settings_of(suite: str, data: Sequence[OwnData] = ()) -> Settings:
    """The settings that a board's name tells: a suite as it is, its first examples, or one on own data.

    data: what is at hand. Raises BundleError for other settings, and UnavailableData for data that are not at hand.
    """
    found = _SETTINGS.fullmatch(suite)
    if found is None:
        raise BundleError(f"suite {suite}: only a suite as it is, its first examples or own data can be verified")
    own = next((one for one in data if one.suffix == found["data"]), None)
    if found["data"] and own is None:
        raise UnavailableData(f"suite {suite}: measured on own data, {found['data']}; give them with --data")
    return Settings(limit=int(found["limit"]) if found["limit"] else None, data=own)


def _check_reasons(bundle: Bundle, planned: Mapping[str, PlannedCell]) -> None:
    """What a plan says cannot be run has no number, and what it says can be run is not n/a without a model's reason."""
    for cell_id, result in bundle.records.items():
        label, reason = bundle.manifest.plan[cell_id], planned[cell_id].reason
        if reason and result.status != "n/a":
            raise BundleError(f"{label}: is {result.status}, and the suite says n/a: {reason}")
        if reason and result.reason != reason:
            raise BundleError(f"{label}: n/a for another reason than the suite's: {result.reason}")


def _brought(bundle: Bundle, folder: Path, data: OwnData | None, place: Workplace) -> Brought:
    import torch

    from tasks.models import bring, parse

    found = bring(parse(source_text(bundle, folder)), bundle.manifest.entry.task, torch.device(place.devices[0]), data)
    carried = {*found.files, SOURCE_NAME}
    if carried != set(bundle.model_files):
        odd = ", ".join(sorted(carried ^ set(bundle.model_files)))
        raise BundleError(f"model: expected the files that make the model and {SOURCE_NAME}, and no other; odd: {odd}")
    if found.hash != bundle.manifest.model_hash:
        raise BundleError(
            f"the model in the bundle hashes to {found.hash[:12]}, its manifest says {bundle.manifest.model_hash[:12]}"
        )
    return found


def source_text(bundle: Bundle, folder: Path) -> str:
    """How to bring a bundle's model from the folder that it was extracted to; raises BundleError for other kinds."""
    facts = json.loads(bundle.model_file(SOURCE_NAME))
    if not isinstance(facts, dict):
        raise BundleError(f"model/{SOURCE_NAME}: expected an object")
    kind, attribute = str(facts.get("kind", "")), str(facts.get("attribute", ""))
    if kind not in ("hf", "torch", "sb3"):
        raise BundleError(f"model/{SOURCE_NAME}: a bundle carries hf, torch or sb3 models, not {kind!r}")
    return f"{kind}:{folder}" + (f":{attribute}" if attribute else "")


def _metrics(registry: Registry) -> dict[str, Metric]:
    metrics = {}
    for entry in registry.tasks():
        metrics[entry.name] = resolve(entry.code)().metric
    return metrics
