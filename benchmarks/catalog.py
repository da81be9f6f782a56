"""Everything that can be run: the built-in entries, those of installed packages, and those of plugin files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adversarial.attacks import ENTRIES as ATTACKS
from adversarial.defenses import ENTRIES as DEFENSES
from adversarial.registry import Registry
from tasks import ENTRIES as TASKS


def catalog(plugins: Sequence[Path] = ()) -> Registry:
    """A registry with all that is known; raises DuplicateName and DataError for a plugin that does not fit."""
    registry = Registry()
    registry.add(*ATTACKS, *DEFENSES, *TASKS)
    registry.load_entry_points()
    for path in plugins:
        registry.load_plugin(path)
    return registry
