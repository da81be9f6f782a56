"""What there is to attack and to attack with, by name. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adversarial.entries import SurfaceEntry
from adversarial.errors import InvalidOption
from benchmarks.catalog import catalog
from tasks.models import load_source, parse


if TYPE_CHECKING:
    from adversarial.victims import Victim


def list_attacks(surface: str | None = None, plugins: Sequence[str | Path] = ()) -> tuple[str, ...]:
    """The names that `attack` and `evaluate` take; with a surface (`pixels`, `waveform`, `words`, `characters`,
    `embeddings`, `observations`) those that run there."""
    registry = catalog(plugins)
    offers = None if surface is None else registry.find(SurfaceEntry, surface).offers
    entries = [entry for entry in registry.attacks() if entry.name != "none"]
    return tuple(entry.name for entry in entries if offers is None or not entry.lacks(offers))


def list_models(plugins: Sequence[str | Path] = ()) -> tuple[str, ...]:
    """The reference models that ship, as `task/model`, which load_model takes."""
    return tuple(f"{task.name}/{model}" for task in catalog(plugins).tasks() for model in task.models)


def load_model(source: str, task: str | None = None, device: str = "cpu", plugins: Sequence[str | Path] = ()) -> Victim:
    """A model as a victim, which `attack` and `evaluate` take: `load_model("image-digits/undefended")`.

    source: a reference model `task/model`, `torch:FOLDER`, `hf:FOLDER` or an id on the Hub, `sb3:FILE.zip`,
    `python:FILE.py:FUNCTION`. task: what it does, as `robustarena list` names it; a reference model says so itself.
    device: where it runs, as torch names it. plugins: files with register(registry).
    Raises InvalidOption and UnknownName for a source that cannot be read, ModelError for a model that does not fit.
    """
    import torch

    registry = catalog(plugins)
    parsed = parse(source, registry)
    if parsed.kind == "reference":
        task = parsed.location.partition("/")[0]
    if task is None:
        known = ", ".join(entry.name for entry in registry.tasks())
        raise InvalidOption(f"{source} does not say what it does; give task=, one of {known}")
    return load_source(parsed, registry.task(task), registry, torch.device(device)).victim
