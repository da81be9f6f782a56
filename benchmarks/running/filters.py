"""Which cells of a suite are asked for."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass

from adversarial.errors import UnknownName
from leaderboard.records.record import Cell


@dataclass(frozen=True, slots=True)
class Filters:
    """Shell patterns; an empty tuple lets everything through. A model is also matched as TASK/MODEL."""

    tasks: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    defenses: tuple[str, ...] = ()

    def admit(self, cell: Cell) -> bool:
        return all(
            not patterns or any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)
            for _, patterns, names in self._of(cell)
        )

    def check(self, cells: Iterable[Cell]) -> None:
        """Raises UnknownName for a pattern that no cell has, with the nearest names."""
        every = [self._of(cell) for cell in cells]
        for place, (kind, patterns, _) in enumerate(self._of(None)):
            names = sorted({name for found in every for name in found[place][2]})
            for pattern in patterns:
                if not fnmatch.filter(names, pattern):
                    raise UnknownName.among(kind, pattern, names)

    def _of(self, cell: Cell | None) -> tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]:
        """What is filtered: its kind, the patterns, and the names that the cell has of it."""
        return (
            ("task", self.tasks, (cell.task,) if cell else ()),
            ("model", self.models, (cell.model, f"{cell.task}/{cell.model}") if cell else ()),
            ("attack", self.attacks, (cell.attack,) if cell else ()),
            ("defense", self.defenses, (cell.defense,) if cell else ()),
        )
