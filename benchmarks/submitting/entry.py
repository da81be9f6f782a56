"""From a loaded model to a bundle: the suite's own trials, their records and evidence, and the model's files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adversarial.errors import InvalidOption
from adversarial.registry import Registry
from benchmarks.running.cells import ModelRef, PlannedCell
from benchmarks.running.planning import Settings, plan_cells
from benchmarks.suites.suite import Suite
from benchmarks.verifying.opening import SOURCE_NAME, benchmark_version
from leaderboard.bundle.manifest import EntryFacts
from leaderboard.bundle.writing import Content, Parts, write_bundle
from leaderboard.records.record import Result
from leaderboard.records.run_folder import RunFolder


if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from tasks.models import LoadedModel


@dataclass(frozen=True, slots=True)
class Submission:
    """A model with the name and the words that its submitter gives it."""

    entry: EntryFacts
    source: str
    model: LoadedModel


def cells_of(submission: Submission, suite: Suite, registry: Registry, settings: Settings) -> tuple[PlannedCell, ...]:
    """The suite's trials of one task with the model; raises InvalidOption as check_entry does."""
    entry = submission.entry
    check_entry(entry, suite, registry)
    model = ModelRef(entry.name, submission.model.hash, entry.defense, source=submission.source)
    return plan_cells(suite, registry, settings, models={entry.task: (model,)})


def check_entry(entry: EntryFacts, suite: Suite, registry: Registry) -> None:
    """Raises InvalidOption where a reference model has that name, or the suite has no trial of the task."""
    if entry.name in registry.task(entry.task).models:
        raise InvalidOption(f"{entry.name} is a reference model of {entry.task}; choose another name")
    if entry.task not in {trial.task for trial in suite.trials}:
        raise InvalidOption(f"{suite.name} has no trial of {entry.task}; choose another suite")


def pack(
    target: Path,
    submission: Submission,
    suite: str,
    cells: Sequence[PlannedCell],
    folder: RunFolder,
    key: Ed25519PrivateKey,
) -> str:
    """Writes the bundle of what was measured, and returns its id. Raises BundleError and StoreError."""
    results = {cell.id: result for cell in cells if (result := folder.read_result(cell.id)) is not None}
    evidence: dict[str, Content] = {
        cell_id: folder.artifact_path(cell_id) for cell_id, result in results.items() if result.artifacts
    }
    first = cells[0].cell
    return write_bundle(
        target,
        Parts(
            entry=submission.entry,
            suite=suite,
            benchmark=benchmark_version(),
            model_hash=submission.model.hash,
            data_hash=first.data_hash,
            plan={cell.id: cell.cell.label for cell in cells},
            versions=dict(first.versions),
        ),
        records=_sorted(results),
        evidence=evidence,
        model_files=model_files(submission.model),
        key=key,
    )


def model_files(model: LoadedModel) -> dict[str, Content]:
    """What of the model goes into a bundle: its files and how to load it again; nothing where it is not carried."""
    if not model.carried:
        return {}
    facts = {"kind": model.source.kind, "attribute": model.source.attribute, "facts": dict(model.facts)}
    text = json.dumps(facts, sort_keys=True, indent=1, allow_nan=False) + "\n"
    return {**model.files, SOURCE_NAME: text.encode()}


def _sorted(results: Mapping[str, Result]) -> list[Result]:
    return [results[cell_id] for cell_id in sorted(results)]
