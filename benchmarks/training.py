"""Training reference models again, and holding the result against what ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adversarial.entries import TaskEntry
from adversarial.errors import UnknownName
from adversarial.registry import resolve
from tasks.models.cards import Card, read_card


@dataclass(frozen=True, slots=True)
class Comparison:
    """agrees: whether the weights are the same bytes, or the clean metrics are within 0.02 of the metric's span."""

    agrees: bool
    text: str


def train_model(entry: TaskEntry, model: str, folder: Path, threads: int, report: Callable[[str], None]) -> Card:
    """Trains a model from its recipe into a folder; raises UnknownName."""
    import torch

    torch.set_num_threads(threads)
    task = resolve(entry.code)()
    if model not in task.recipes:
        raise UnknownName.among(f"model of {entry.name}", model, task.recipes)
    folder.mkdir(parents=True, exist_ok=True)
    task.train(task.recipes[model], folder, report)
    return read_card(folder)


def compare_with_shipped(entry: TaskEntry, model: str, folder: Path) -> Comparison:
    """Compares a trained model with the one that ships: by hash, else by clean metric."""
    shipped, trained = read_card(Path(entry.folder) / model), read_card(folder)
    if shipped.weights_sha256 == trained.weights_sha256:
        return Comparison(True, f"the weights equal the shipped ones byte for byte ({shipped.weights_sha256[:12]})")
    metric = resolve(entry.code)().metric
    span = abs(metric.ceiling - metric.floor)
    gap = abs(shipped.clean[metric.name] - trained.clean[metric.name]) / span
    return Comparison(
        gap <= 0.02,
        f"other weights than the shipped ones; clean {metric.name} {trained.clean[metric.name]:.4f}, shipped "
        f"{shipped.clean[metric.name]:.4f}: {gap:.1%} of the span apart",
    )
