"""Better adversarial examples against somebody's entry: an attack of one's own on the model that its bundle carries."""

from __future__ import annotations

import hashlib
import inspect
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from adversarial.errors import InvalidOption, UnknownName
from adversarial.registry import Registry, resolve
from adversarial.threats import Threat
from benchmarks.running.measuring import measure
from benchmarks.running.planning import ModelRef, PlannedCell, Settings, plan_cells
from benchmarks.submitting.entry import benchmark_version
from benchmarks.suites import Suite, TrialSpec, suite_named
from benchmarks.verifying.bundles import open_here, settings_of, source_text
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.reading import Bundle
from leaderboard.bundle.writing import Parts, extract, write_bundle
from leaderboard.records.record import Result
from leaderboard.records.threats import without_access


if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tasks.data import OwnData


def strengthen(
    entry: Path,
    target: Path,
    registry: Registry,
    attack: str,
    params: Mapping[str, Any],
    key: Ed25519PrivateKey,
    seed: int = 0,
    data: Sequence[OwnData] = (),
) -> tuple[str, Result]:
    """Runs the attack under the threat that ranks the entry's task, and writes a bundle against the entry.

    Returns the bundle's id and the record. Raises BundleError for an entry that carries no model or an attack that
    ends without a number, InvalidOption where the attack does not fit.
    """
    bundle = open_here(entry, registry)
    if bundle.manifest.kind != "entry" or not bundle.model_files:
        raise BundleError(f"{entry}: expected the bundle of an entry that carries its model")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        extract(bundle, folder)
        planned = _planned(bundle, registry, attack, params, seed, source_text(bundle, folder / "model"), data)
        found = measure(planned)
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
    bundle: Bundle,
    registry: Registry,
    attack: str,
    params: Mapping[str, Any],
    seed: int,
    source: str,
    data: Sequence[OwnData],
) -> PlannedCell:
    manifest = bundle.manifest
    suite = suite_named(manifest.suite.partition("-")[0])
    threat = suite.ranking_threats[manifest.entry.task]
    entry = registry.attack(attack)
    known = inspect.signature(resolve(entry.code)).parameters
    for name in params:
        if name not in known:
            raise UnknownName.among(f"parameter of {attack}", name, list(known)[1:])
    if reason := entry.reason_against(Threat.parse(threat).surface):
        raise InvalidOption(f"{attack} does not fit {threat}: {reason}")
    like = next(trial for trial in suite.trials if trial.task == manifest.entry.task and trial.threat != "none")
    own = Suite(
        name=suite.name,
        summary="",
        trials=(
            TrialSpec(
                manifest.entry.task,
                attack,
                f"{without_access(threat)}@{entry.access}",
                dict(params),
                like.goal,
                like.batch_size,
                seed,
            ),
        ),
        ranking_threats=suite.ranking_threats,
        timeout_seconds=24 * 3600.0,
    )
    settings: Settings = settings_of(manifest.suite, data)
    model = ModelRef(manifest.entry.name, manifest.model_hash, manifest.entry.defense, source=source)
    (planned,) = plan_cells(own, registry, settings, models={manifest.entry.task: (model,)})
    return planned
