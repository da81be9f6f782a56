"""The one registry of attacks, defenses and tasks: torch-free data that names its code lazily.

A package adds its own through the entry-point group `robustarena`, a file through `--plugin path/to/file.py`. Both
name or hold a function `register(registry)`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

from adversarial.errors import DataError, DuplicateName, UnknownName


ENTRY_POINT_GROUP: Final = "robustarena"

Stage = Literal["test", "fit", "train", "native", "wrap", "detect"]


@dataclass(frozen=True, slots=True)
class AttackEntry:
    """An attack and what it needs.

    code: `module:function`. stage, access: see the design's words. surfaces: where it runs. excluded: why it does not
    run elsewhere, by surface, in words for the board. defaults: the parameters of the function that count as its own
    definition. minimum_norm: whether it looks for the nearest success: it then runs without a bound, and counts where
    its distance is within the budget.
    """

    name: str
    code: str
    summary: str
    paper: str
    access: str
    surfaces: frozenset[str]
    stage: Stage = "test"
    excluded: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    minimum_norm: bool = False

    def reason_against(self, surface: str) -> str | None:
        """Why the attack does not run on a surface; None where it does."""
        if surface in self.surfaces:
            return None
        return self.excluded.get(surface, f"{self.name} is not defined on {surface}")


@dataclass(frozen=True, slots=True)
class DefenseEntry:
    """A defense: code that hardens, the stage at which it does, and the tasks it is defined for."""

    name: str
    code: str
    summary: str
    paper: str
    stage: Stage
    surfaces: frozenset[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """A task and what it offers.

    code: a function without arguments that makes the task. facts: a torch-free module with data_hash(split).
    surfaces: where it can be attacked. models: its reference models, each a folder under `folder`. libraries: whose
    versions change its numbers, and so are part of a cell's id. own_data: a function that makes the task
    from a tasks.data.OwnData, a user's own; empty where there is none.
    """

    name: str
    code: str
    facts: str
    summary: str
    surfaces: tuple[str, ...]
    models: tuple[str, ...]
    folder: str
    libraries: tuple[str, ...] = ("torch", "numpy")
    own_data: str = ""


Entry = AttackEntry | DefenseEntry | TaskEntry
E = TypeVar("E", AttackEntry, DefenseEntry, TaskEntry)
_KINDS: Final = {AttackEntry: "attack", DefenseEntry: "defense", TaskEntry: "task"}


class Registry:
    """Entries by kind and name. A name registered twice is refused: on a board a silent overwrite is a wrong row."""

    def __init__(self) -> None:
        self._entries: dict[type, dict[str, Entry]] = {kind: {} for kind in _KINDS}
        self._origins: dict[tuple[type, str], str] = {}
        self._plugins: dict[str, str] = {}

    def add(self, *entries: Entry, origin: str = "robustarena") -> None:
        """Adds entries; raises DuplicateName, naming both origins."""
        for entry in entries:
            kind, key = type(entry), (type(entry), entry.name)
            if key in self._origins:
                raise DuplicateName(
                    f"{_KINDS[kind]} {entry.name!r} of {origin} is already registered by {self._origins[key]}; "
                    "choose another name"
                )
            self._entries[kind][entry.name] = entry
            self._origins[key] = origin

    def attack(self, name: str) -> AttackEntry:
        """The attack of that name; raises UnknownName with the nearest ones."""
        return self._get(AttackEntry, name)

    def defense(self, name: str) -> DefenseEntry:
        return self._get(DefenseEntry, name)

    def task(self, name: str) -> TaskEntry:
        return self._get(TaskEntry, name)

    def attacks(self) -> tuple[AttackEntry, ...]:
        return self._all(AttackEntry)

    def defenses(self) -> tuple[DefenseEntry, ...]:
        return self._all(DefenseEntry)

    def tasks(self) -> tuple[TaskEntry, ...]:
        return self._all(TaskEntry)

    @property
    def plugins(self) -> Mapping[str, str]:
        """What was loaded from outside: a file's SHA-256 or a package's version, by origin. Part of a cell's id."""
        return MappingProxyType(self._plugins)

    def load_entry_points(self) -> None:
        """Loads every installed package of the entry-point group."""
        for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
            origin = f"package {point.dist.name}" if point.dist else f"entry point {point.name}"
            if origin not in self._plugins:
                self._plugins[origin] = point.dist.version if point.dist else "unknown"
                point.load()(_Named(self, origin))

    def load_plugin(self, path: Path) -> None:
        """Runs a plugin file and its register(registry); raises DataError where it has none.

        Plugins are the user's own code and are trusted as such.
        """
        if not path.is_file():
            raise DataError(f"no plugin file at {path}")
        origin = f"plugin {path.name}"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if self._plugins.get(origin) == digest:
            return
        spec = importlib.util.spec_from_file_location(f"robustarena_plugin_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise DataError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        # Entries name code as "module:name"; the module must be found under its name again.
        import sys

        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        if not callable(getattr(module, "register", None)):
            raise DataError(f"{path} has no function register(registry); see docs/extending.md")
        self._plugins[origin] = digest
        module.register(_Named(self, origin))

    def _get(self, kind: type[E], name: str) -> E:
        found = self._entries[kind].get(name)
        if found is None:
            raise UnknownName.among(_KINDS[kind], name, self._entries[kind])
        return found  # type: ignore[return-value]

    def _all(self, kind: type[E]) -> tuple[E, ...]:
        return tuple(self._entries[kind].values())  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Named:
    """The registry as a plugin sees it: what it adds carries its origin."""

    registry: Registry
    origin: str

    def add(self, *entries: Entry) -> None:
        self.registry.add(*entries, origin=self.origin)


def resolve(code: str) -> Callable[..., Any]:
    """The object that `module:name` names. This is where torch gets imported."""
    module, _, name = code.partition(":")
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except AttributeError:
        raise DataError(f"{module} has no {name!r}, which a registry entry names") from None
