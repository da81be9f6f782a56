"""From a suite to its cells: what would be measured, with every identity, before torch is imported."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adversarial.entries import AttackEntry, TaskEntry
from adversarial.errors import InvalidOption, ModelError
from adversarial.registry import Registry, resolve
from adversarial.signatures import parameters
from benchmarks.running.cells import ModelRef, PlannedCell
from benchmarks.running.devices import CPU, device_class
from benchmarks.suites.suite import NONE, Suite, TrialSpec
from leaderboard.records.plan import Plan
from leaderboard.records.record import Cell, Scalar
from tasks import FIT_SPLIT
from tasks.data import CustomData
from tasks.models.cards import model_hash


NUMBERS_VERSION: Final = "2"  # raised whenever a change of the project's own code changes numbers


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run adds to a suite. threads: of torch, in each worker. limit: first examples only, for trying out. data:
    a user's own, in place of those of its task; the other tasks then have no cells."""

    seed: int = 0
    limit: int | None = None
    device: str = CPU
    threads: int = 1
    dtype: str = "float32"
    data: CustomData | None = None

    @property
    def suffix(self) -> str:
        """What the plan's name says of settings that are not the suite's own; such a board stands apart."""
        parts = [] if self.data is None else [self.data.suffix]
        parts += [] if self.limit is None else [f"limit{self.limit}"]
        parts += [] if self.seed == 0 else [f"seed{self.seed}"]
        parts += [] if self.device == CPU else [device_class(self.device)]
        parts += [] if self.threads == 1 else [f"threads{self.threads}"]
        parts += [] if self.dtype == "float32" else [self.dtype]
        return "".join("-" + part for part in parts)


def plan_cells(
    suite: Suite,
    registry: Registry,
    settings: Settings,
    models: Mapping[str, Sequence[ModelRef]] | None = None,
) -> tuple[PlannedCell, ...]:
    """All cells of a suite, cheapest first within each model.

    models: by task, what is measured; each task's reference models where None. A task without models has no cells.
    Raises UnknownName and ModelError where a task, an attack or a model's files are missing, InvalidOption where the
    reference models do not read the settings' data.
    """
    planned = []
    if models is None and settings.data is not None and not settings.data.manifest.reference_models:
        raise InvalidOption(
            f"the reference models of {settings.data.task} do not read these data; bring a model that does: "
            "robustarena submit MODEL --data DATA"
        )
    for trial in suite.trials:
        task = registry.task(trial.task)
        if settings.data is not None and settings.data.task != task.name:
            continue
        chosen = references(task, settings) if models is None else models.get(task.name, ())
        for model in chosen:
            planned.append(_planned(trial, task, model, suite, registry, settings))
    order = {group: place for place, group in enumerate(dict.fromkeys(cell.group for cell in planned))}
    return tuple(sorted(planned, key=lambda cell: (order[cell.group], cell.effort)))


def references(task: TaskEntry, settings: Settings) -> list[ModelRef]:
    """A task's reference models, where they read the settings' data."""
    data = settings.data
    reads = data is None or (data.task == task.name and data.manifest.reference_models)
    for name in task.models if reads else ():
        if not (Path(task.folder) / name).is_dir():
            raise ModelError(f"{task.name}/{name} is not trained yet: robustarena train {task.name}/{name}")
    return [ModelRef.reference(task, name) for name in task.models] if reads else []


def as_plan(suite: Suite, cells: Sequence[PlannedCell], settings: Settings) -> Plan:
    """What the board reads."""
    return Plan(
        suite=suite.name + settings.suffix,
        ranking_threats=dict(suite.ranking_threats),
        unrealisable_threats=tuple(suite.unrealisable),
        cells=tuple(cell.id for cell in cells),
        labels={cell.id: cell.cell.label for cell in cells},
    )


def _planned(
    trial: TrialSpec,
    task: TaskEntry,
    model: ModelRef,
    suite: Suite,
    registry: Registry,
    settings: Settings,
) -> PlannedCell:
    attack, data = registry.attack(trial.attack), settings.data
    data_hash: Callable[[str], str] = resolve(task.data_hash) if data is None else data.data_hash
    reason = None
    if trial.threat != NONE:
        threat = registry.threat(trial.threat)
        reason = registry.misfit(attack, threat, task) or None
        if reason is None and threat.access != attack.access:
            # An attack that never asks the model would count as a search.
            raise InvalidOption(
                f"{suite.name}: {attack.name} asks for {attack.access}, and its trial is {trial.threat}; write "
                f"{threat.with_access(attack.access)}"
            )
    surrogates = {}
    if attack.access == "surrogate" and reason is None:
        # A model is never its own surrogate: that would be a white-box attack by another name.
        others = task.models if data is None or data.manifest.reference_models else ()
        surrogates = {other: Path(task.folder) / other for other in others if model.source or other != model.name}
        reason = (
            None
            if surrogates
            else "transfer needs another reference model of the task" + ("" if data is None else " that reads the data")
        )
    surfaces = [] if trial.threat == NONE else [registry.surface_of(registry.threat(trial.threat))]
    cell = Cell(
        task=task.name,
        data_hash=data_hash("test"),
        split="test",
        limit=settings.limit,
        model=model.name,
        model_hash=model.hash,
        defense=model.defense,
        attack=trial.attack,
        params={**parameters(attack), **trial.params} if reason is None else dict(trial.params),
        threat=trial.threat,
        goal=trial.goal,
        seed=settings.seed + trial.seed,
        dtype=settings.dtype,
        batch_size=trial.batch_size,
        device=device_class(settings.device),
        threads=settings.threads,
        plugins=registry.plugins_of(task, attack, *surfaces),
        versions=_versions(task.libraries),
        options=_options(trial, attack, surrogates, data_hash) if reason is None else {},
    )
    return PlannedCell(
        cell=cell,
        timeout_seconds=suite.timeout_seconds,
        reason=reason or "",
        id=cell.id,
        stage=attack.stage,
        minimum_norm=attack.minimum_norm,
        curve=trial.curve,
        queue=trial.queue,
        surrogates=tuple(surrogates),
        custom=bool(model.source),
        data="" if data is None else data.id,
        pace=task.pace,
    )


def _options(
    trial: TrialSpec, attack: AttackEntry, surrogates: Mapping[str, Path], data_hash: Callable[[str], str]
) -> dict[str, Scalar]:
    options: dict[str, Scalar] = {}
    if trial.curve:
        options["curve"] = " ".join(f"{share:.12g}" for share in trial.curve)
    if trial.queue != 1:
        options["queue"] = trial.queue
    if attack.minimum_norm:
        options["minimum_norm"] = True
    if attack.stage == "fit":
        options["fit_split"] = FIT_SPLIT
        options["fit_data"] = data_hash(FIT_SPLIT)
    if surrogates:
        options["surrogates"] = " ".join(f"{name}={model_hash(folder)}" for name, folder in surrogates.items())
    return options


def _versions(libraries: Iterable[str]) -> dict[str, str]:
    # "2.14.1+cpu" and "2.14.1" are the same release built for other devices, but not the same numbers.
    return {
        "robustarena-numbers": NUMBERS_VERSION,
        **{name: importlib.metadata.version(name) for name in libraries},
    }
