"""Everything that can be run: the built-in entries, those of installed packages, and those of plugin files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adversarial.attacks import ENTRIES as ATTACKS
from adversarial.defenses import ENTRIES as DEFENSES
from adversarial.errors import DataError, RobustArenaError
from adversarial.registry import Registry
from adversarial.surfaces import ENTRIES as SURFACES
from benchmarks.running import ENTRIES as EXECUTORS
from benchmarks.suites import ENTRIES as SUITES
from tasks import ENTRIES as TASKS
from tasks.models import ENTRIES as SOURCES


def catalog(plugins: Sequence[str | Path] = ()) -> Registry:
    """All that is known. plugins: files; raises DuplicateName and DataError for one that does not fit."""
    registry = Registry()
    registry.add(*SURFACES, *ATTACKS, *DEFENSES, *TASKS, *SUITES, *SOURCES, *EXECUTORS)
    with _explained("a package of the entry-point group"):
        registry.load_entry_points()
    for path in plugins:
        with _explained(str(path)):
            registry.load_plugin(Path(path))
    return registry


@contextmanager
def _explained(origin: str) -> Iterator[None]:
    """Foreign code may raise anything; what it was, and where it came from, is all that a user can act on."""
    try:
        yield
    except RobustArenaError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"{origin}: {type(error).__name__}: {error}") from error
