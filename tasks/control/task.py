"""A task of an environment, and `control-cartpole`, the one that ships."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from adversarial.inputs import Inputs, Scores
from adversarial.ledger import Ledger
from adversarial.victims import ModuleVictim, Victim
from leaderboard.records.metric import Metric
from tasks.control.cartpole import CARTPOLE, RECIPES
from tasks.control.model import architectures
from tasks.control.training import train_policy
from tasks.measuring.classes import class_fault
from tasks.measuring.environments import Environment, Episodes
from tasks.measuring.episodes import measure_episodes
from tasks.measuring.protocol import Defense, Measurement, ModelInterface, Rescored, Trial
from tasks.measuring.replay import replay
from tasks.measuring.training import write_model
from tasks.models.architectures import build
from tasks.models.cards import read_card
from tasks.models.recipes import Recipe


STEPS: Final = 6  # into the episodes that a model is shown before it is measured


class Control:
    """An agent's true return in an environment, whatever it was made to see."""

    def __init__(self, name: str, environment: Environment, recipes: Mapping[str, Recipe]) -> None:
        self.name, self.environment, self.recipes = name, environment, recipes

    @property
    def metric(self) -> Metric:
        return self.environment.metric

    @property
    def interface(self) -> ModelInterface:
        size, actions = self.environment.size, self.environment.actions
        return ModelInterface(
            f"observations in the environment's units, float32 [batch, {size}]",
            f"logits of the actions, [batch, {actions}]",
            actions,
        )

    def load_victim(self, folder: Path, device: torch.device) -> Victim:
        return self.wrap(build(architectures(self.environment), folder, read_card(folder)).to(device))

    def wrap(self, module: nn.Module) -> Victim:
        return ModuleVictim(module)

    def sample(self, count: int, device: torch.device) -> tuple[Inputs, None]:
        """A few steps into the first episodes, where velocities are more than those of a start; which action is right,
        nothing says."""
        episodes = Episodes(self.environment, self.environment.seeds("test")[:count])
        seen = episodes.observe()
        for step in range(STEPS):
            episodes.step((episodes.slots + step) % self.environment.actions)
            if not episodes.running.all():
                break
            seen = episodes.observe()
        return Inputs(torch.from_numpy(seen).to(device)), None

    def fault(self, scores: Scores, inputs: Inputs, others: int) -> str:  # noqa: ARG002
        return class_fault(scores, self.environment.actions, others)

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
