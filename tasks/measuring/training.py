"""One training loop for every task whose examples stand still, with a defense inside it."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from adversarial.errors import InvalidOption, ModelError
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.registry import Registry, resolve
from adversarial.signatures import check_parameters
from adversarial.threats import Threat
from adversarial.victims import Victim, freeze
from tasks.measuring.attacking import Case, disturbed
from tasks.measuring.batches import Batch, StaticTask
from tasks.measuring.protocol import Defense, Task, Trial
from tasks.models.cards import Card, recipe_to_json, write_card
from tasks.models.recipes import Recipe
from tasks.models.weights import save_weights


LIBRARIES = ("torch", "torchaudio", "numpy", "gymnasium", "scikit-learn")


class TrainableTask(StaticTask, Protocol):
    """What train_static needs beyond measuring."""

    def training_batches(self, recipe: Recipe, epoch: int) -> Iterable[Batch]:
        """The training split in an order of the epoch's own."""


def train_static(
    task: TrainableTask,
    module: nn.Module,
    as_victim: Callable[[nn.Module], Victim],
    recipe: Recipe,
    defense: Defense | None,
    report: Callable[[str], None],
) -> float:
    """Trains the module in place; returns the mean loss on the undisturbed training split at the end.

    as_victim: the module as attacks see it, its weights not frozen. defense: the recipe's, see defense_of; it disturbs
    each batch on the `share` of rows that a keyed coin picks. AdamW with a one-cycle schedule.
    """
    threat = None if defense is None else Threat.parse(recipe.threat)
    optimiser = torch.optim.AdamW(module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * sum(1 for _ in task.training_batches(recipe, 0))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps, pct_start=0.2)
    victim = as_victim(module)
    for epoch in range(recipe.epochs):
        total, rows = 0.0, 0
        for batch in task.training_batches(recipe, epoch):
            inputs, goal = batch.inputs, task.goal(batch, "flip")
            if defense is not None and threat is not None:
                module.eval()
                with torch.no_grad():
                    space = task.space(victim, batch, threat)
                keys = Keys.of(recipe.seed, batch.ids).fold("training", epoch)
                d = disturbed(Case(victim, space, goal, keys), threat, defense, recipe.share)
                # The space is made again so that embeddings keep their graph: their table learns, too.
                inputs = task.space(victim, batch, threat).apply(d)
            module.train()
            losses = goal.loss(victim(inputs), "ce")
            optimiser.zero_grad(set_to_none=True)
            losses.mean().backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total, rows = total + float(losses.detach().sum()), rows + len(batch.ids)
        if not math.isfinite(total):
            raise ModelError(f"{recipe.model}: the training loss is {total} in epoch {epoch + 1}; nothing is written")
        report(f"{recipe.model}: epoch {epoch + 1}/{recipe.epochs}, training loss {total / rows:.4f}")
    module.eval()
    return _clean_loss(task, victim, recipe)


def defense_of(recipe: Recipe, registry: Registry) -> Defense | None:
    """The recipe's train-stage defense with its parameters bound; None for `none`.

    Raises UnknownName, and InvalidOption for a defense of another stage or parameters that it does not take.
    """
    if recipe.defense == "none":
        return None
    entry = registry.defense(recipe.defense)
    if entry.stage != "train":
        raise InvalidOption(f"{entry.name} is a defense of the stage {entry.stage}; nothing is trained with it")
    check_parameters(entry, recipe.defense_params)
    function = resolve(entry.code)
    given = {**entry.params, **recipe.defense_params}

    def bound(problem: Problem) -> Tensor:
        d: Tensor = function(problem, **given)
        return d

    return bound


def write_model(
    task: Task,
    module: nn.Module,
    architecture: str,
    arguments: dict[str, Any],
    recipe: Recipe,
    data_hash: str,
    clean_loss: float,
    folder: Path,
    dtype: torch.dtype | None = None,
) -> Card:
    """Writes weights, in dtype where one is given, and card; the clean metric on the test split is measured from the
    written files."""
    digest = save_weights(freeze(module), folder, dtype)
    card = Card(
        task=task.name,
        model=recipe.model,
        architecture=architecture,
        arguments=arguments,
        recipe=recipe_to_json(recipe),
        data_hash=data_hash,
        weights_sha256=digest,
        clean={},
        clean_loss=clean_loss,
        command=f"robustarena train {task.name}{_how(task, recipe)}",
        versions={name: importlib.metadata.version(name) for name in LIBRARIES},
    )
    write_card(folder, card)
    victim = task.load_victim(folder, torch.device("cpu"))
    measured = task.measure(victim, Trial(threat=None, attack=None), Ledger())
    card = Card(**{**_fields(card), "clean": {task.metric.name: round(measured.metric(), 6)}})
    write_card(folder, card)
    return card


def _how(task: Task, recipe: Recipe) -> str:
    """What follows the task in the command that makes a model again."""
    if recipe.model in task.recipes:
        return f"/{recipe.model}"
    params = "".join(f" --param {name}={json.dumps(value)}" for name, value in recipe.defense_params.items())
    return f" --defense {recipe.defense}{params} --epochs {recipe.epochs}"


def _fields(card: Card) -> dict[str, Any]:
    return {name: getattr(card, name) for name in Card.__dataclass_fields__}


def _clean_loss(task: TrainableTask, victim: Victim, recipe: Recipe) -> float:
    total, rows = 0.0, 0
    with torch.no_grad():
        for batch in task.training_batches(recipe, 0):
            losses = task.goal(batch, "flip").loss(victim(batch.inputs), "ce")
            total, rows = total + float(losses.sum()), rows + len(batch.ids)
    return total / rows
