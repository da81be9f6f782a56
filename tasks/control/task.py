"""A task of an environment, and `control-cartpole`, the one that ships."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from adversarial.ledger import Ledger
from adversarial.victims import ModuleVictim, Victim
from leaderboard.records.metric import Metric
from tasks.control.cartpole import CARTPOLE, RECIPES
from tasks.control.model import architectures
from tasks.control.training import train_policy
from tasks.measuring.environments import Environment
from tasks.measuring.episodes import measure_episodes
from tasks.measuring.protocol import Defense, Measurement, Rescored, Trial
from tasks.measuring.replay import replay
from tasks.measuring.training import write_model
from tasks.models.architectures import build
from tasks.models.cards import read_card
from tasks.models.recipes import Recipe


class Control:
    """An agent's true return in an environment, whatever it was made to see."""

    def __init__(self, name: str, environment: Environment, recipes: Mapping[str, Recipe]) -> None:
        self.name, self.environment, self.recipes = name, environment, recipes

    @property
    def metric(self) -> Metric:
        return self.environment.metric

    def load_victim(self, folder: Path, device: torch.device) -> Victim:
        return ModuleVictim(build(architectures(self.environment), folder, read_card(folder)).to(device))

    def measure(self, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
        return measure_episodes(self.environment, victim, trial, ledger)

    def rescore(self, victim: Victim, trial: Trial, evidence: Mapping[str, Tensor]) -> Rescored:
        return replay(self.environment, victim, trial, evidence)

    def train(self, recipe: Recipe, defense: Defense | None, folder: Path, report: Callable[[str], None]) -> None:
        arguments = {"width": 64}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            module = architectures(self.environment)["tanh-policy"](**arguments)
            clean_loss = train_policy(self.environment, module, recipe, defense, report)
        data_hash = self.environment.data_hash("train")
        write_model(self, module, "tanh-policy", arguments, recipe, data_hash, clean_loss, folder)


def make() -> Control:
    """CartPole, as its registry entry names it."""
    return Control("control-cartpole", CARTPOLE, RECIPES)
