"""The one registry: everything that has a name and can be chosen by it, each name once for its kind.

A package adds its own through the entry-point group `robustarena`, a file through `--plugin path/to/file.py`. Both
name or hold a function `register(registry)`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol, TypeVar

from adversarial.entries import ANSWERS, AttackEntry, Code, DefenseEntry, SurfaceEntry, TaskEntry
from adversarial.errors import DataError, DuplicateName, UnknownName
from adversarial.threats import Threat


ENTRY_POINT_GROUP: Final = "robustarena"
BUILT_IN: Final = "robustarena"  # the origin of what ships


class Entry(Protocol):
    """What can be registered. kind: what one is called in messages: attack, task, suite. Imports no torch."""

    kind: ClassVar[str]

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...


E = TypeVar("E", bound=Entry)


class Registry:
    """Entries by kind and name. A name registered twice is refused: on a board a silent overwrite is a wrong row."""

    def __init__(self) -> None:
        self._entries: dict[type, dict[str, Any]] = {}
        self._origins: dict[tuple[type, str], str] = {}
        self._plugins: dict[str, str] = {}

    def add(self, *entries: Entry, origin: str = BUILT_IN) -> None:
        """Adds entries; raises DuplicateName, naming both origins."""
        for entry in entries:
            kind, key = type(entry), (type(entry), entry.name)
            if key in self._origins:
                raise DuplicateName(
                    f"{kind.kind} {entry.name!r} of {origin} is already registered by {self._origins[key]}; "
                    "choose another name"
                )
            self._entries.setdefault(kind, {})[entry.name] = entry
            self._origins[key] = origin

    def find(self, kind: type[E], name: str) -> E:
        """The entry of that kind and name; raises UnknownName with the nearest ones."""
        known: dict[str, E] = self._entries.get(kind, {})
        if name not in known:
            raise UnknownName.among(kind.kind, name, known)
        return known[name]

    def all(self, kind: type[E]) -> tuple[E, ...]:
        """Every entry of a kind, in the order in which they were added."""
        return tuple(self._entries.get(kind, {}).values())

    def attack(self, name: str) -> AttackEntry:
        return self.find(AttackEntry, name)

    def defense(self, name: str) -> DefenseEntry:
        return self.find(DefenseEntry, name)

    def task(self, name: str) -> TaskEntry:
        return self.find(TaskEntry, name)

    def attacks(self) -> tuple[AttackEntry, ...]:
        return self.all(AttackEntry)

    def defenses(self) -> tuple[DefenseEntry, ...]:
        return self.all(DefenseEntry)

    def tasks(self) -> tuple[TaskEntry, ...]:
        return self.all(TaskEntry)

    def threat(self, text: str) -> Threat:
        """A threat on a surface that is registered; raises InvalidThreat and UnknownName."""
        return self.checked(Threat.parse(text))

    def checked(self, threat: Threat) -> Threat:
        """The threat, where its surface is registered and has such budgets; raises InvalidThreat and UnknownName."""
        surface = self.surface_of(threat)
        surface.check_norm(threat.norm)
        surface.check_budget(threat.norm, threat.budget)
        return threat

    def surface_of(self, threat: Threat) -> SurfaceEntry:
        return self.find(SurfaceEntry, threat.surface)

    def misfit(self, attack: AttackEntry, threat: Threat, task: TaskEntry | None = None) -> str:
        """Why an attack does not run under a threat, on a task where one is given; empty where it does."""
        offers = self.surface_of(threat).offers
        return attack.lacks(offers if task is None else (offers - ANSWERS) | task.answers)

    @property
    def plugins(self) -> Mapping[str, str]:
        """What was loaded from outside: a file's SHA-256 or a package's version, by origin."""
        return MappingProxyType(self._plugins)

    def plugins_of(self, *entries: Entry) -> dict[str, str]:
        """The plugins that these entries come from: part of the id of a cell that is measured with them."""
        origins = {self._origins[type(entry), entry.name] for entry in entries}
        return {origin: digest for origin, digest in sorted(self._plugins.items()) if origin in origins}

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
        # Entries may name code as "module:name"; the module must be found under its name again.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        if not callable(getattr(module, "register", None)):
            raise DataError(f"{path} has no function register(registry); see docs/extending.md")
        self._plugins[origin] = digest
        module.register(_Named(self, origin))


@dataclass(frozen=True, slots=True)
class _Named:
    """The registry as a plugin sees it: what it adds carries its origin."""

    registry: Registry
    origin: str

    def add(self, *entries: Entry) -> None:
        self.registry.add(*entries, origin=self.origin)


def resolve(code: Code) -> Callable[..., Any]:
    """What an entry names or holds. This is where torch gets imported."""
    if callable(code):
        return code
    module, _, name = code.partition(":")
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except AttributeError:
        raise DataError(f"{module} has no {name!r}, which a registry entry names") from None
