"""Everything that can be run: the built-in entries, those of installed packages, and those of plugin files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adversarial.attacks import ENTRIES as ATTACKS
from adversarial.defenses import ENTRIES as DEFENSES
from adversarial.registry import Registry
from adversarial.surfaces import ENTRIES as SURFACES
from benchmarks.running import ENTRIES as EXECUTORS
from benchmarks.suites import ENTRIES as SUITES
from tasks import ENTRIES as TASKS
from tasks.models import ENTRIES as SOURCES


def catalog(plugins: str | Path | Sequence[str | Path] = ()) -> Registry:
    """All that is known. plugins: files; raises DuplicateName and DataError for one that does not fit."""
    plugins = (plugins,) if isinstance(plugins, (str, Path)) else plugins
    registry = Registry()
    registry.add(*SURFACES, *ATTACKS, *DEFENSES, *TASKS, *SUITES, *SOURCES, *EXECUTORS)
    registry.load_entry_points()
    for path in plugins:
        registry.load_plugin(Path(path))
    return registry
