"""What a record must be to stand in a bundle: of the manifest's entry, of the plan, with numbers in range."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from leaderboard.bundle.documents import checked_canonical, read_json
from leaderboard.bundle.errors import BundleError, shown
from leaderboard.bundle.manifest import BundleManifest, checked_text
from leaderboard.bundle.names import cell_of, evidence_path, record_path
from leaderboard.records.canonical import ResultError, canonical_json
from leaderboard.records.metric import Metric
from leaderboard.records.record import BUDGET_PREFIX, NEAREST, Result, decode_result


NUMBERS_KEY: Final = "robustarena-numbers"  # of a cell's versions
LARGEST: Final = 1e12  # beyond every metric, distance and count; sums of such numbers stay finite
LONGEST_WORD: Final = 300
LONGEST_REASON: Final = 20_000
MOST_COLUMNS: Final = 32
_SHARE: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
ERROR_RATES: Final = ("WER", "word error rate")


def read_record(data: bytes, path: str, manifest: BundleManifest, metric: Metric | None) -> Result:
    """A record, checked against the manifest. metric: what the task measures, where it is known.

    Raises BundleError that names the file, what was expected and what came.
    """
    read_json(data, path)
    try:
        result = decode_result(data, expected_id=cell_of(path))
    except (ResultError, OverflowError) as error:
        raise BundleError(f"{path}: {error}") from None
    checked_canonical(data, canonical_json(result), path)
    try:
        fault = next(iter(_faults(result, manifest, metric)), "")
    except BundleError as error:
        fault = str(error)
    if fault:
        raise BundleError(f"{path}: {fault}")
    return result


def _faults(result: Result, manifest: BundleManifest, metric: Metric | None) -> Iterable[str]:
    cell, entry = result.cell, manifest.entry
    for name, expected, found in (
        ("task", entry.task, cell.task),
        ("model", entry.name, cell.model),
        ("defense", entry.defense, cell.defense),
        ("model_hash", manifest.model_hash, cell.model_hash),
        ("data_hash", manifest.data_hash, cell.data_hash),
        ("label", manifest.plan.get(result.id), cell.label),
        ("numbers version", manifest.benchmark.numbers, cell.versions.get(NUMBERS_KEY, manifest.benchmark.numbers)),
    ):
        if expected != found:
            yield f"{name}: the manifest says {shown(expected)}, the record {shown(found)}"
    yield from _artifact_faults(result, manifest)
    cost = (result.cost.forwards, result.cost.backwards, result.cost.queries, result.cost.environment_steps)
    if any(not 0 <= count <= LARGEST for count in cost):
        yield f"cost: expected counts from 0 to {LARGEST:g}, found {shown(cost)}"
    if result.metric is not None and metric is not None and result.metric != metric:
        yield f"metric: task {entry.task} has {shown(metric)}, the record {shown(result.metric)}"
    if result.status != "ok" and result.examples is not None:
        yield f"is {result.status} and still has examples"
    yield from _text_faults(result)
    yield from _number_faults(result)


def _text_faults(result: Result) -> Iterable[str]:
    cell = result.cell
    words = {"split": cell.split, "attack": cell.attack, "threat": cell.threat, "goal": cell.goal}
    words |= {"dtype": cell.dtype, "device": cell.device}
    words |= {} if result.metric is None else {"metric": result.metric.name}
    words |= {f"diagnostic {number}": one.name for number, one in enumerate(result.diagnostics)}
    words |= {f"column {name}": name for name in (result.examples.columns if result.examples else ())}
    for what, text in words.items():
        checked_text(what, text, LONGEST_WORD)
    for what, text in (("reason", result.reason), *((one.name, one.detail) for one in result.diagnostics)):
        if len(text) > LONGEST_REASON:
            yield f"{what}: expected at most {LONGEST_REASON} characters, found {len(text)}"
    columns = result.examples.columns if result.examples else {}
    if len(columns) > MOST_COLUMNS:
        yield f"columns: expected at most {MOST_COLUMNS}, found {len(columns)}"
    for name in columns:
        if name.startswith(BUDGET_PREFIX) and not _SHARE.fullmatch(name.removeprefix(BUDGET_PREFIX)):
            yield f"column {shown(name)}: expected {BUDGET_PREFIX} and a share of the budget"
    for name in result.examples.ids if result.examples else ():
        if len(name) > LONGEST_WORD or not name.isprintable():
            yield f"example id {shown(name)}: expected at most {LONGEST_WORD} printable characters"


def _artifact_faults(result: Result, manifest: BundleManifest) -> Iterable[str]:
    facts = manifest.files.get(evidence_path(result.id))
    expected = {} if facts is None else {f"{result.id}.safetensors": facts.sha256}
    if result.artifacts != expected:
        yield f"artifacts: the bundle's evidence is {shown(expected)}, the record says {shown(result.artifacts)}"


def _number_faults(result: Result) -> Iterable[str]:
    examples, metric = result.examples, result.metric
    if examples is None or metric is None:
        return
    columns = {"values": examples.values, "weights": examples.weights, "distances": examples.distances}
    for name, column in {**columns, **examples.columns}.items():
        if any(abs(number) > LARGEST for number in column):
            yield f"{name}: expected numbers up to {LARGEST:g}"
    if any(distance < 0 for distance in examples.distances):
        yield "distances: expected none below 0"
    nearest = examples.columns.get(NEAREST, ())
    if any(distance < 0 and distance != -1 for distance in nearest):
        yield f"{NEAREST}: expected distances of at least 0, or -1 where there is none"
    judged = {name: column for name, column in examples.columns.items() if name.startswith(BUDGET_PREFIX)}
    for name, column in {"values": examples.values, **judged}.items():
        yield from _value_faults(name, column, examples.weights, metric)


def _value_faults(name: str, values: tuple[float, ...], weights: tuple[float, ...], metric: Metric) -> Iterable[str]:
    if metric.name == "accuracy":
        if (metric.floor, metric.ceiling) != (0.0, 1.0):
            yield f"metric: accuracy runs from 0 to 1, found {metric.floor} to {metric.ceiling}"
        if any(value not in (0.0, 1.0) for value in values):
            yield f"{name}: accuracy counts 0 or 1 an example, found {_first(values, (0.0, 1.0))}"
        if any(weight != 1.0 for weight in weights):
            yield f"weights: accuracy weighs every example 1, found {_first(weights, (1.0,))}"
    elif metric.name in ERROR_RATES:
        if (metric.floor, metric.ceiling) != (1.0, 0.0):
            yield f"metric: {metric.name} runs from 1 to 0, found {metric.floor} to {metric.ceiling}"
        if any(number < 0 or not number.is_integer() for number in (*values, *weights)):
            yield f"{name}: errors and what may be wrong are whole numbers of at least 0"


def _first(values: Iterable[float], allowed: tuple[float, ...]) -> float:
    return next(value for value in values if value not in allowed)


def checked_records(
    found: Mapping[str, bytes], manifest: BundleManifest, metrics: Mapping[str, Metric]
) -> dict[str, Result]:
    """The records by cell id, in the order of the plan. found: their bytes by path."""
    metric = metrics.get(manifest.entry.task)
    records = {}
    for cell_id in sorted(manifest.plan):
        path = record_path(cell_id)
        if path in found:
            records[cell_id] = read_record(found[path], path, manifest, metric)
    return records
