"""From what a command line asks for to the cells that are measured, and where. Imports no torch by itself."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adversarial.entries import AttackEntry
from adversarial.errors import UnknownName
from adversarial.registry import Registry
from benchmarks.running.planning import Filters, PlannedCell, Settings, plan_cells
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

    Attacks that the suite lacks make a board of their own. Raises UnknownName, InvalidOption, InvalidThreat and
    ModelError.
    """
    found = suite_named(registry, suite)
    missing = [one for one in filters.attacks if not fnmatch.filter({trial.attack for trial in found.trials}, one)]
    if threat or missing:
        found = attacked_by(found, registry, _attacks(registry, found, filters.attacks), threat)
        filters = replace(filters, attacks=())
    planned = plan_cells(found, registry, settings)
    filters.check(cell.cell for cell in planned)
    cells = tuple(cell for cell in planned if filters.admit(cell.cell))
    return Choice(found, planned, cells, Workplace.of(plugins, settings.data, settings.device))


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
