"""From what a command line asks for to the cells that are measured, and where. Imports no torch by itself."""

from __future__ import annotations

import fnmatch
import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, UnknownName
from adversarial.registry import Registry
from benchmarks.running.cells import ModelRef, PlannedCell
from benchmarks.running.custom_models import custom_models, is_source
from benchmarks.running.filters import Filters
from benchmarks.running.planning import Settings, plan_cells, references
from benchmarks.running.workplace import Workplace
from benchmarks.suites.deriving import attacked_by
from benchmarks.suites.suite import NONE, Suite, suite_named


@dataclass(frozen=True, slots=True)
class Choice:
    """suite: as it is, or derived. planned: all of its cells, which make its board; cells: those that were asked for.
    place: where their plugins, data and models are."""

    suite: Suite
    planned: tuple[PlannedCell, ...]
    cells: tuple[PlannedCell, ...]
    place: Workplace


def choose(
    registry: Registry,
    suite: str,
    filters: Filters,
    settings: Settings,
    *,
    threat: str = "",
    plugins: Sequence[Path] = (),
) -> Choice:
    """threat: in place of those that rank; plugins: the files that the registry was made with.

    Attacks that the suite lacks make a board of their own; models that a source names join the references on it.
    Raises UnknownName, InvalidOption, InvalidThreat and ModelError.
    """
    found = suite_named(registry, suite)
    missing = [one for one in filters.attacks if not fnmatch.filter({trial.attack for trial in found.trials}, one)]
    if threat or missing:
        found = attacked_by(found, registry, _attacks(registry, found, filters.attacks), threat)
        filters = replace(filters, attacks=())
    filters, models, sources = _models(registry, found, filters, settings)
    planned = plan_cells(found, registry, settings, models)
    filters.check(cell.cell for cell in planned)
    cells = tuple(cell for cell in planned if filters.admit(cell.cell))
    if not cells:
        raise InvalidOption(f"no cell of {found.name} is of all that was asked for: see `robustarena plan {suite}`")
    return Choice(found, planned, cells, Workplace.of(plugins, settings.data, settings.device, sources))


def _models(
    registry: Registry, suite: Suite, filters: Filters, settings: Settings
) -> tuple[Filters, Mapping[str, Sequence[ModelRef]] | None, Mapping[tuple[str, str], str]]:
    """The filters without sources, the models by task (None: the references), and where custom ones come from."""
    texts = [text for text in filters.models if is_source(text, registry)]
    if not texts:
        return filters, None, {}
    tasks = [registry.task(name) for name in dict.fromkeys(trial.task for trial in suite.trials)]
    wanted = [task for task in tasks if not filters.tasks or any(fnmatch.fnmatch(task.name, p) for p in filters.tasks)]
    custom = custom_models(texts, registry, wanted, settings.data)
    patterns = tuple(text for text in filters.models if text not in texts)
    filters = replace(filters, models=(*patterns, *map(glob.escape, custom.names)))
    models = {task.name: (*references(task, settings), *custom.models.get(task.name, ())) for task in tasks}
    return filters, models, custom.sources


def _attacks(registry: Registry, suite: Suite, patterns: Sequence[str]) -> list[AttackEntry]:
    """The registered attacks that patterns name, or else the suite's own; raises UnknownName."""
    known = {attack.name: attack for attack in registry.attacks() if attack.name != NONE}
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise UnknownName.among("attack", pattern, known)
    own = {trial.attack for trial in suite.trials}
    return [
        attack
        for name, attack in known.items()
        if (any(fnmatch.fnmatch(name, pattern) for pattern in patterns) if patterns else name in own)
    ]
