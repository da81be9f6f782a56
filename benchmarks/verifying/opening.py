"""What a bundle says of itself, by what is here: its suite, its settings, its model."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adversarial.entries import SourceEntry
from adversarial.errors import UnavailableData
from adversarial.registry import Registry, resolve
from benchmarks.running.planning import NUMBERS_VERSION, Settings
from benchmarks.running.workplace import Workplace
from benchmarks.suites.suite import Suite, suite_named
from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.manifest import Benchmark
from leaderboard.bundle.names import SOURCE
from leaderboard.bundle.reading import Bundle, Limits, open_bundle
from leaderboard.records.metric import Metric
from leaderboard.records.threats import without_access


if TYPE_CHECKING:
    from tasks.data import CustomData
    from tasks.models import LoadedModel


SOURCE_NAME: Final = SOURCE.partition("/")[2]
_SETTINGS: Final = re.compile(r"[^-]+(-(?P<data>data[0-9a-f]{12}))?(-limit(?P<limit>[1-9][0-9]{0,6}))?")


def benchmark_version() -> Benchmark:
    """What measures here; a bundle that another version measured is refused."""
    return Benchmark(importlib.metadata.version("robustarena"), NUMBERS_VERSION)


def open_here(path: Path, registry: Registry) -> Bundle:
    """A bundle that this version made, of tasks with the metrics that they have here; raises BundleError."""
    return open_bundle(path, Limits(), benchmark=benchmark_version(), metrics=_metrics(registry))


def suite_of(bundle: Bundle, registry: Registry) -> Suite:
    """The suite that a bundle is of, whatever its settings; raises UnknownName."""
    return suite_named(registry, bundle.manifest.suite.partition("-")[0])


def ranking_threat(bundle: Bundle, registry: Registry) -> str:
    """What ranks the entry's task in its suite, without the access."""
    return without_access(suite_of(bundle, registry).ranking_threats[bundle.manifest.entry.task])


def settings_of(suite: str, data: Sequence[CustomData] = ()) -> Settings:
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


def carried_model(
    bundle: Bundle, registry: Registry, folder: Path, data: CustomData | None, place: Workplace
) -> LoadedModel:
    """The bundle's model, from the folder that it was extracted to; raises BundleError where it is another one."""
    import torch

    from tasks.models import load_source, parse

    source, task = parse(source_text(bundle, registry, folder), registry), registry.task(bundle.manifest.entry.task)
    found = load_source(source, task, registry, torch.device(place.devices[0]), data)
    carried = {*found.files, SOURCE_NAME}
    if carried != set(bundle.model_files):
        odd = ", ".join(sorted(carried ^ set(bundle.model_files)))
        raise BundleError(f"model: expected the files that make the model and {SOURCE_NAME}, and no other; odd: {odd}")
    if found.hash != bundle.manifest.model_hash:
        raise BundleError(
            f"the model in the bundle hashes to {found.hash[:12]}, its manifest says {bundle.manifest.model_hash[:12]}"
        )
    return found


def source_text(bundle: Bundle, registry: Registry, folder: Path) -> str:
    """How to load a bundle's model from the folder that it was extracted to; raises BundleError for other kinds."""
    facts = json.loads(bundle.model_file(SOURCE_NAME))
    if not isinstance(facts, dict):
        raise BundleError(f"model/{SOURCE_NAME}: expected an object")
    kind, attribute = str(facts.get("kind", "")), str(facts.get("attribute", ""))
    known = [entry.name for entry in registry.all(SourceEntry) if entry.carried]
    if kind not in known:
        raise BundleError(f"model/{SOURCE_NAME}: a bundle carries models of {', '.join(known)}, not {kind!r}")
    return f"{kind}:{folder}" + (f":{attribute}" if attribute else "")


def _metrics(registry: Registry) -> dict[str, Metric]:
    metrics = {}
    for entry in registry.tasks():
        metrics[entry.name] = resolve(entry.code)().metric
    return metrics
