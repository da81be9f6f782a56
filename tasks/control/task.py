"""The task `control-cartpole`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from adversarial.diagnostics import Trace
from adversarial.ledger import Ledger
from adversarial.victims import ModuleVictim, Victim
from tasks.architectures import build
from tasks.cards import read_card
from tasks.control.facts import RANDOM_RETURN, REFERENCE_RETURN, data_hash, episode_id, seeds
from tasks.control.model import ARCHITECTURES
from tasks.control.recipes import RECIPES
from tasks.control.rollout import Rollout, roll_out
from tasks.control.training import train_policy
from tasks.protocol import Measurement, Metric, Trial
from tasks.recipes import Recipe
from tasks.training import write_model


class CartPole:
    """Balancing a pole on a cart for up to 500 steps; the true return, whatever the agent was made to see."""

    name = "control-cartpole"
    metric = Metric("return", floor=RANDOM_RETURN, ceiling=REFERENCE_RETURN)
    recipes: Mapping[str, Recipe] = RECIPES

    def load_victim(self, folder: Path, device: torch.device) -> Victim:
        # A new layer draws weights from the global generator before the folder's own replace them.
        with torch.random.fork_rng(devices=[]):
            return ModuleVictim(build(ARCHITECTURES, folder, read_card(folder)).to(device))

    def measure(self, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
        chosen = seeds(trial.split)[: trial.limit]
        trace = Trace()
        batches = [
            roll_out(victim, chosen[start : start + trial.batch_size], trial, ledger, trace)
            for start in range(0, len(chosen), trial.batch_size)
        ]
        moves = trial.attack is not None and trial.threat is not None and trial.threat.radius > 0
        returns = _numbers([batch.returns for batch in batches])
        return Measurement(
            ids=tuple(episode_id(seed) for seed in chosen),
            values=returns,
            weights=(1.0,) * len(returns),
            distances=_numbers([batch.distances for batch in batches]),
            columns={
                "attacked_steps": _numbers([batch.attacked for batch in batches]),
                "flipped_steps": _numbers([batch.flipped for batch in batches]),
            },
            findings=trace.findings(moves),
            evidence=_evidence(batches) if moves else {},
        )

    def train(self, recipe: Recipe, folder: Path, report: Callable[[str], None]) -> None:
        arguments = {"width": 64}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            module = ARCHITECTURES["tanh-policy"](**arguments)
            clean_loss = train_policy(module, recipe, report)
        write_model(self, module, "tanh-policy", arguments, recipe, data_hash("train"), clean_loss, folder)


def _numbers(parts: list[Tensor]) -> tuple[float, ...]:
    return tuple(float(value) for part in parts for value in part.tolist())


def _evidence(batches: list[Rollout]) -> dict[str, Tensor]:
    """What the agents saw and did, all episodes side by side; replaying the actions proves the returns."""
    steps = max(len(batch.actions) for batch in batches)
    return {
        "observations": torch.cat([_longer(batch.observations, steps) for batch in batches], dim=1),
        "actions": torch.cat([_longer(batch.actions, steps) for batch in batches], dim=1),
    }


def _longer(values: Tensor, steps: int) -> Tensor:
    """Zeros after the end, along the first dimension."""
    return functional.pad(values, (0, 0) * (values.ndim - 1) + (0, steps - len(values)))


def make() -> CartPole:
    """The task, as its registry entry names it."""
    return CartPole()
