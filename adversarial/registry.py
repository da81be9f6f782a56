"""The one registry: everything that has a name and can be chosen by it, each name once for its kind.

A package adds its own through the entry-point group `robustarena`, a file through `--plugin path/to/file.py`. Both
name or hold a function `register(registry)`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, Final, Protocol, TypeVar

from adversarial.entries import ANSWERS, AttackEntry, Code, DefenseEntry, SurfaceEntry, TaskEntry
from adversarial.errors import DataError, DuplicateName, RobustArenaError, UnknownName
from adversarial.threats import Threat


ENTRY_POINT_GROUP: Final = "robustarena"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,99}")  # part of labels, boards and file names
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
        self._entries: dict[str, dict[str, Any]] = {}  # by kind and name
        self._origins: dict[tuple[str, str], str] = {}
        self._plugins: dict[str, str] = {}

    def add(self, *entries: Entry, origin: str = BUILT_IN) -> None:
        """Adds entries; raises DuplicateName, naming both origins."""
        for entry in entries:
            if not isinstance(getattr(entry, "name", None), str) or not hasattr(type(entry), "kind"):
                raise DataError(f"{origin} registers {entry!r:.80}; expected an entry, such as AttackEntry(...)")
            if not _NAME.fullmatch(entry.name):
                raise DataError(
                    f"{origin}: a name is letters, digits and _ . @ - after a letter or digit, not {entry.name[:80]!r}"
                )
            key = (entry.kind, entry.name)
            if key in self._origins:
                raise DuplicateName(
                    f"{entry.kind} {entry.name!r} of {origin} is already registered by {self._origins[key]}; "
                    "choose another name"
                )
            self._entries.setdefault(entry.kind, {})[entry.name] = entry
            self._origins[key] = origin

    def find(self, kind: type[E], name: str) -> E:
        """The entry of that kind and name; raises UnknownName with the nearest ones."""
        known: dict[str, E] = self._entries.get(kind.kind, {})
        if name not in known:
            raise UnknownName.among(kind.kind, name, known)
        return known[name]

    def all(self, kind: type[E]) -> tuple[E, ...]:
        """Every entry of a kind, in the order in which they were added."""
        return tuple(self._entries.get(kind.kind, {}).values())

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

    def misfit(self, attack: AttackEntry | DefenseEntry, threat: Threat, task: TaskEntry | None = None) -> str:
        """Why an attack or a defense does not fit a threat, on a task where one is given; empty where it does."""
        offers = self.surface_of(threat).offers
        return attack.lacks(offers if task is None else (offers - ANSWERS) | task.answers)

    @property
    def plugins(self) -> Mapping[str, str]:
        """What was loaded from outside: a file's SHA-256 or a package's version, by origin."""
        return MappingProxyType(self._plugins)

    def plugins_of(self, *entries: Entry) -> dict[str, str]:
        """The plugins that these entries come from: part of the id of a cell that is measured with them."""
        origins = {self._origins[entry.kind, entry.name] for entry in entries}
        return {origin: digest for origin, digest in sorted(self._plugins.items()) if origin in origins}

    def load_entry_points(self) -> None:
        """Loads every installed package of the entry-point group; raises DataError that names one which fails."""
        for point in sorted(importlib.metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
            origin = f"package {point.dist.name}" if point.dist else f"entry point {point.name}"
            self._plugins[origin] = point.dist.version if point.dist else "unknown"
            with _explained(origin):
                point.load()(_Named(self, origin))

    def load_plugin(self, path: Path) -> None:
        """Runs a plugin file, once a process, and its register(registry); raises DataError where it has none or fails.

        Plugins are the user's own code and are trusted as such.
        """
        path = path.resolve()
        if not path.is_file():
            raise DataError(f"no plugin file at {path}")
        if path.suffix != ".py":
            raise DataError(f"{path} is not a Python file; a plugin's name ends in .py")
        origin, content = f"plugin {path.name}", path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if self._plugins.get(origin) == digest:
            return
        if origin in self._plugins:
            raise DataError(f"two plugin files are called {path.name}, which is how cells name them; rename one")
        with _explained(origin):
            module = _module(path, content, digest)
            if not callable(getattr(module, "register", None)):
                raise DataError(f"{path} has no function register(registry); see docs/extending.md")
            self._plugins[origin] = digest
            module.register(_Named(self, origin))


def _module(path: Path, content: bytes, digest: str) -> ModuleType:
    """A plugin file as a module, of exactly these bytes: a compiled file that lies about may be of others.

    Entries may name code as "module:name", so the module can be found under its name.
    """
    name = f"robustarena_plugin_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__plugin__", None) == (str(path), digest):
        return known
    module = ModuleType(name)
    module.__file__ = str(path)
    vars(module)["__plugin__"] = (str(path), digest)
    sys.modules[name] = module
    try:
        exec(compile(content, str(path), "exec"), vars(module))
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _explained(origin: str) -> Iterator[None]:
    """Foreign code may raise anything; what it was, and where it came from, is all that a user can act on."""
    try:
        yield
    except RobustArenaError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"{origin}: {type(error).__name__}: {error}") from error


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
