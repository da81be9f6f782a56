"""Everything that can be run: the built-in entries, those of installed packages, and those of plugin files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from adversarial.attacks import ENTRIES as ATTACKS
from adversarial.defenses import ENTRIES as DEFENSES
from adversarial.errors import DataError, RobustArenaError
from adversarial.registry import Registry
from tasks import ENTRIES as TASKS


def catalog(plugins: Sequence[Path] = ()) -> Registry:
    """A registry with all that is known; raises DuplicateName and DataError for a plugin that does not fit."""
    registry = Registry()
    registry.add(*ATTACKS, *DEFENSES, *TASKS)
    with _explained("a package of the entry-point group"):
        registry.load_entry_points()
    for path in plugins:
        with _explained(str(path)):
            registry.load_plugin(path)
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
