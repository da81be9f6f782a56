"""The task `control-cartpole`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from adversarial.diagnostics import Trace
from adversarial.ledger import Ledger
from adversarial.victims import ModuleVictim, Victim
from leaderboard.records.metric import Metric
from leaderboard.records.record import BUDGET_PREFIX
from tasks.control.dataset import RANDOM_RETURN, REFERENCE_RETURN, data_hash, episode_id, seeds
from tasks.control.fitting import learned
from tasks.control.model import ARCHITECTURES
from tasks.control.recipes import RECIPES
from tasks.control.replay import replay
from tasks.control.rollout import joined, roll_out, worst_of
from tasks.control.training import train_policy
from tasks.measuring.protocol import Measurement, Rescored, Trial
from tasks.measuring.training import write_model
from tasks.models.architectures import build
from tasks.models.cards import read_card
from tasks.models.recipes import Recipe


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
        trace = Trace()
        if trial.fit is not None:
            trial = replace(trial, attack=learned(victim, trial, trial.fit, ledger))
        chosen = seeds(trial.split)[: trial.limit]
        curve: dict[str, tuple[float, ...]] = {}
        worst = None
        for share in trial.shares:
            threat = trial.threat if share == 1 or trial.threat is None else trial.threat.scaled(share)
            at_share = replace(trial, threat=threat)
            rollout = joined(
                [
                    roll_out(victim, chosen[start : start + trial.batch_size], at_share, ledger, trace)
                    for start in range(0, len(chosen), trial.batch_size)
                ]
            )
            # What an attacker reaches with less, it reaches with more.
            worst = rollout if worst is None else worst_of(worst, rollout)
            curve[f"{BUDGET_PREFIX}{share:g}"] = _numbers(worst.returns)
            if share == 1:
                nominal = worst
        moves = trial.attack is not None and trial.threat is not None and trial.threat.radius > 0
        return Measurement(
            ids=tuple(episode_id(seed) for seed in chosen),
            values=_numbers(nominal.returns),
            weights=(1.0,) * len(chosen),
            distances=_numbers(nominal.distances),
            columns={
                "attacked_steps": _numbers(nominal.attacked),
                "flipped_steps": _numbers(nominal.flipped),
                **(curve if trial.curve else {}),
            },
            findings=trace.findings(moves),
            # Replaying the actions proves the returns.
            evidence={"observations": nominal.observations, "actions": nominal.actions} if moves else {},
        )

    def rescore(self, victim: Victim, trial: Trial, evidence: Mapping[str, Tensor]) -> Rescored:
        return replay(victim, trial, evidence)

    def train(self, recipe: Recipe, folder: Path, report: Callable[[str], None]) -> None:
        arguments = {"width": 64}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            module = ARCHITECTURES["tanh-policy"](**arguments)
            clean_loss = train_policy(module, recipe, report)
        write_model(self, module, "tanh-policy", arguments, recipe, data_hash("train"), clean_loss, folder)


def _numbers(values: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values.tolist())


def make() -> CartPole:
    """The task, as its registry entry names it."""
    return CartPole()
