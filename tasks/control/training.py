"""Proximal policy optimisation, Schulman et al. 2017, https://arxiv.org/abs/1707.06347, with a defense inside: the
policy acts on disturbed observations and learns from what it saw (Zhang et al. 2020, section 4,
https://arxiv.org/abs/2003.08938). The critic, which is not shipped, sees the true ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions.categorical import Categorical
from torch.nn import functional

from adversarial.goals import Flip
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.threats import Threat
from tasks.control.model import tanh_layers
from tasks.measuring.attacking import Case, disturbed
from tasks.measuring.environments import Environment
from tasks.measuring.protocol import Defense
from tasks.measuring.rollouts import space_of
from tasks.models.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Options:
    """What a recipe's options say to this loop; the recipe's epochs are rollouts, its batch size rows of one step.

    slots, steps: environments and steps of a rollout. passes: over each rollout. entropy: weight of its bonus.
    discount, trace: of rewards and of advantages. clip: of the ratio of policies. warm_up: share of the training
    over which the budget grows from nothing to its full size.
    """

    slots: int = 64
    steps: int = 64
    passes: int = 8
    entropy: float = 0.0
    discount: float = 0.98
    trace: float = 0.8
    clip: float = 0.2
    warm_up: float = 0.5


@dataclass(frozen=True, slots=True)
class Experience:
    """One rollout, flattened, without the steps at which Gymnasium resets a slot.

    true, seen: float32 [rows, numbers]; actions: int64 [rows]; the rest: float32 [rows].
    """

    true: Tensor
    seen: Tensor
    actions: Tensor
    log_probabilities: Tensor
    advantages: Tensor
    targets: Tensor
    length: float

    def batches(self, size: int, generator: np.random.Generator) -> list[Tensor]:
        order = torch.from_numpy(generator.permutation(len(self.actions)))
        return [order[start : start + size] for start in range(0, len(order), size)]


def train_policy(
    environment: Environment,
    policy: nn.Module,
    recipe: Recipe,
    defense: Defense | None,
    report: Callable[[str], None],
) -> float:
    """Trains the policy in place; returns the mean cross-entropy of its own greedy actions on what it visited last,
    undisturbed. Torch's global generator must be seeded: the critic's weights come from it."""
    options = Options(**recipe.options)
    critic = tanh_layers(environment, 64, 1)
    parameters = list(chain(policy.parameters(), critic.parameters()))
    optimiser = torch.optim.Adam(parameters, lr=recipe.learning_rate, eps=1e-5)
    collector = _Collector(environment, policy, critic, recipe, defense, options)
    generator = np.random.default_rng([recipe.seed, 1])
    for epoch in range(recipe.epochs):
        left = 1 - epoch / recipe.epochs
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * left
        experience = collector.collect(epoch)
        for _ in range(options.passes):
            for rows in experience.batches(recipe.batch_size, generator):
                loss = _loss(policy, critic, experience, rows, options)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(parameters, 0.5)
                optimiser.step()
        if (epoch + 1) % 10 == 0:
            report(f"{recipe.model}: rollout {epoch + 1}/{recipe.epochs}, mean episode {experience.length:.0f} steps")
    with torch.no_grad():
        logits = policy(experience.true)
        return float(functional.cross_entropy(logits, logits.argmax(1)))


def _loss(policy: nn.Module, critic: nn.Module, experience: Experience, rows: Tensor, options: Options) -> Tensor:
    logits = policy(experience.seen[rows])
    distribution = Categorical(logits=logits)
    advantages = experience.advantages[rows]
    advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    chosen: Tensor = distribution.log_prob(experience.actions[rows])  # type: ignore[no-untyped-call]
    ratio = (chosen - experience.log_probabilities[rows]).exp()
    clipped = ratio.clamp(1 - options.clip, 1 + options.clip)
    gain = torch.minimum(ratio * advantages, clipped * advantages).mean()
    error = (critic(experience.true[rows]).squeeze(1) - experience.targets[rows]).square().mean()
    bonus: Tensor = distribution.entropy().mean()  # type: ignore[no-untyped-call]
    loss: Tensor = 0.5 * error - gain - options.entropy * bonus
    return loss


class _Collector:
    """Environments that go on from rollout to rollout."""

    def __init__(
        self,
        environment: Environment,
        policy: nn.Module,
        critic: nn.Module,
        recipe: Recipe,
        defense: Defense | None,
        options: Options,
    ) -> None:
        self._environment = environment
        self._policy, self._critic, self._recipe, self._options = policy, critic, recipe, options
        self._defense = defense
        self._victim = _Trainable(policy)
        self._vector = environment.make_vector(options.slots)
        first, _ = self._vector.reset(seed=recipe.seed)
        self._observations = torch.from_numpy(first)
        self._fresh = torch.zeros(options.slots, dtype=torch.bool)
        slots = [f"slot-{slot}" for slot in range(options.slots)]
        self._keys = Keys.of(recipe.seed, slots)
        self._lengths = torch.zeros(options.slots)

    def collect(self, epoch: int) -> Experience:
        """One rollout with the policy as it is now."""
        options, rows, ended = self._options, [], []
        for step in range(options.steps):
            true, keys = self._observations, self._keys.fold("training", epoch, step)
            seen = true + self._disturb(true, keys, epoch)
            with torch.no_grad():
                log_probabilities = torch.log_softmax(self._policy(seen), 1)
            draws = keys.fold("action").uniform((1,))
            actions = (draws > log_probabilities.exp().cumsum(1)[:, :-1]).sum(1)
            after, rewards, terminated, truncated, _ = self._vector.step(actions.numpy())
            done, failed = torch.from_numpy(terminated | truncated), torch.from_numpy(terminated.copy())
            gains = torch.from_numpy(rewards).to(torch.float32)
            chosen = log_probabilities.gather(1, actions[:, None]).squeeze(1)
            # Gymnasium resets on the step after an episode's last one, whatever the action: such a step is no data.
            real = ~self._fresh
            rows.append((true, seen, actions, chosen, gains, failed, done, real))
            self._lengths += real
            ended += self._lengths[done].tolist()
            self._lengths[done] = 0
            self._observations, self._fresh = torch.from_numpy(after), done
        true, seen, actions, chosen, gains, failed, done, real = map(torch.stack, zip(*rows, strict=True))
        advantages, values = self._advantages(true, gains, failed, done)
        return Experience(
            true=true[real],
            seen=seen[real],
            actions=actions[real],
            log_probabilities=chosen[real],
            advantages=advantages[real],
            targets=(advantages + values)[real],
            length=float(np.mean(ended)) if ended else float("nan"),
        )

    def _advantages(self, true: Tensor, rewards: Tensor, failed: Tensor, done: Tensor) -> tuple[Tensor, Tensor]:
        """Generalised advantage estimates, https://arxiv.org/abs/1506.02438, and values; [steps, slots]."""
        options = self._options
        with torch.no_grad():
            values = self._critic(torch.cat([true, self._observations[None]])).squeeze(-1)
        # An episode cut off at its last step would have gone on: its value counts, that of a failed one is 0.
        gains = rewards + options.discount * values[1:] * ~failed - values[:-1]
        advantages, running = torch.zeros_like(gains), torch.zeros_like(gains[0])
        for step in reversed(range(len(gains))):
            running = gains[step] + options.discount * options.trace * running * ~done[step]
            advantages[step] = running
        return advantages, values[:-1]

    def _disturb(self, true: Tensor, keys: Keys, epoch: int) -> Tensor:
        recipe = self._recipe
        if self._defense is None:
            return torch.zeros_like(true)
        warm = self._options.warm_up * recipe.epochs
        threat = Threat.parse(recipe.threat).scaled(min(1.0, (epoch + 1) / warm) if warm else 1.0)
        with torch.no_grad():
            own = self._policy(true).argmax(1)
        case = Case(self._victim, space_of(self._environment, Inputs(true), threat), Flip(own), keys)
        return disturbed(case, threat, self._defense, recipe.share)


class _Trainable:
    """A policy as a victim whose weights still learn."""

    differentiable = True

    def __init__(self, policy: nn.Module) -> None:
        self._policy = policy

    def __call__(self, inputs: Inputs) -> Scores:
        return Scores(self._policy(inputs.values))
