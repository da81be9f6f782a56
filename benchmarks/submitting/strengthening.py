"""Better adversarial examples against somebody's entry: an attack of one's own on the model that its bundle carries."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption
from adversarial.registry import Registry
from adversarial.signatures import check_parameters
from benchmarks.running.cells import ModelRef, PlannedCell
from benchmarks.running.measuring import measure
from benchmarks.running.planning import Settings, plan_cells
from benchmarks.running.workplace import Workplace
from benchmarks.verifying.opening import benchmark_version, open_here, settings_of, source_text, suite_of
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import Bundle
from leaderboard.bundle.writing import Parts, extract, write_bundle
from leaderboard.records.record import Result


if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tasks.data import CustomData


def strengthen(
    entry: Path,
    target: Path,
    registry: Registry,
    attack: str,
    params: Mapping[str, Any],
    key: Ed25519PrivateKey,
    seed: int = 0,
    data: Sequence[CustomData] = (),
    plugins: Sequence[Path] = (),
) -> tuple[str, Result]:
    """Runs the attack under the threat that ranks the entry's task, and writes a bundle against the entry.

    plugins: the files that the registry was made with. Returns the bundle's id and the record. Raises BundleError for
    an entry that carries no model or an attack that ends without a number, InvalidOption where it does not fit.
    """
    bundle = open_here(entry, registry)
    if bundle.manifest.kind != "entry" or not bundle.model_files:
        raise BundleError(f"{entry}: expected the bundle of an entry that carries its model")
    settings = settings_of(bundle.manifest.suite, data)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        extract(bundle, folder)
        planned = _planned(bundle, registry, registry.attack(attack), params, seed, settings)
        source = {(planned.cell.task, planned.cell.model): source_text(bundle, registry, folder / "model")}
        found = measure(planned, Workplace.of(plugins, settings.data, sources=source))
        if found.result.status != "ok":
            raise BundleError(f"{planned.cell.label} is {found.result.status}: {found.result.reason}")

        name = f"{planned.id}.safetensors"
        artifacts = {name: hashlib.sha256(found.evidence).hexdigest()} if found.evidence else {}
        result = msgspec.structs.replace(found.result, artifacts=artifacts)
        bundle_id = write_bundle(
            target,
            Parts(
                entry=bundle.manifest.entry,
                suite=bundle.manifest.suite,
                benchmark=benchmark_version(),
                model_hash=bundle.manifest.model_hash,
                data_hash=bundle.manifest.data_hash,
                plan={planned.id: planned.cell.label},
                versions=dict(planned.cell.versions),
                kind="stronger-attack",
                target=bundle.id,
            ),
            records=[result],
            evidence={planned.id: found.evidence} if found.evidence else {},
            model_files={path: folder / "model" / path for path in bundle.model_files},
            key=key,
        )
    return bundle_id, result


def _planned(
    bundle: Bundle, registry: Registry, attack: AttackEntry, params: Mapping[str, Any], seed: int, settings: Settings
) -> PlannedCell:
    manifest, suite = bundle.manifest, suite_of(bundle, registry)
    task = registry.task(manifest.entry.task)
    check_parameters(attack, params)
    threat = registry.threat(suite.ranking_threats[task.name])
    if reason := registry.misfit(attack, threat, task):
        raise InvalidOption(f"{attack.name} does not fit {threat}: {reason}")
    own = replace(suite, trials=(suite.trial(task.name, attack, threat, params, seed),), timeout_seconds=24 * 3600.0)
    model = ModelRef(manifest.entry.name, manifest.model_hash, manifest.entry.defense, source="bundle")
    (planned,) = plan_cells(own, registry, settings, models={task.name: (model,)})
    return planned
