"""Training: reference models again, held against what ships, and models with a defense of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adversarial.entries import TaskEntry
from adversarial.errors import InvalidOption
from adversarial.registry import Registry, resolve
from tasks.models.cards import Card, read_card
from tasks.models.recipes import Recipe


if TYPE_CHECKING:
    from tasks.measuring.protocol import Task


@dataclass(frozen=True, slots=True)
class Reproduction:
    """agrees: whether the weights are the same bytes, or the clean metrics are within 0.02 of the metric's span."""

    agrees: bool
    text: str


def recipe_with(task: Task, defense: str, params: Mapping[str, Any]) -> Recipe:
    """How the task's models are trained, with another defense: as the reference without one, against the threat that
    the others are hardened against. Raises InvalidOption where no recipe of the task names a threat."""
    plain = next((recipe for recipe in task.recipes.values() if recipe.defense == "none"), None)
    hardened = next((recipe for recipe in task.recipes.values() if recipe.threat), None)
    if plain is None or hardened is None:
        raise InvalidOption(f"{task.name} has no recipe to train with a defense; it needs one without and one with")
    return replace(plain, model=defense, defense=defense, defense_params=dict(params), threat=hardened.threat)


def train_model(
    task: Task,
    recipe: Recipe,
    registry: Registry,
    folder: Path,
    threads: int,
    report: Callable[[str], None],
) -> Card:
    """Trains a model from a recipe into a folder; raises UnknownName and InvalidOption as defense_of does."""
    import torch

    from tasks.measuring.training import defense_of

    torch.set_num_threads(threads)
    defense = defense_of(recipe, registry)
    if defense is not None:
        entry, threat = registry.task(task.name), registry.threat(recipe.threat)
        if reason := registry.misfit(registry.defense(recipe.defense), threat, entry):
            raise InvalidOption(f"{recipe.defense} does not fit {task.name}, {threat}: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    task.train(recipe, defense, folder, report)
    return read_card(folder)


def compare_with_shipped(entry: TaskEntry, shipped: Card, trained: Card) -> Reproduction:
    """Compares a trained model with the one that ships: by hash, else by clean metric."""
    if shipped.weights_sha256 == trained.weights_sha256:
        return Reproduction(True, f"the weights equal the shipped ones byte for byte ({shipped.weights_sha256[:12]})")
    metric = resolve(entry.code)().metric
    span = abs(metric.ceiling - metric.floor)
    gap = abs(shipped.clean[metric.name] - trained.clean[metric.name]) / span
    return Reproduction(
        gap <= 0.02,
        f"other weights than the shipped ones; clean {metric.name} {trained.clean[metric.name]:.4f}, shipped "
        f"{shipped.clean[metric.name]:.4f}: {gap:.1%} of the span apart",
    )
