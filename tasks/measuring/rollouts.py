"""Rollouts under attack: at every step one problem, made of what all running agents see at that moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adversarial.answers import Context
from adversarial.diagnostics import Trace
from adversarial.errors import AuditFailure, InvalidOption
from adversarial.goals import Flip
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.spaces import Space, observations
from adversarial.threats import Threat
from adversarial.victims import Victim, ask
from tasks.measuring.attacking import Case, attacked
from tasks.measuring.environments import Environment, Episodes, episode_id
from tasks.measuring.protocol import Trial


LOOK_EVERY: Final = 50  # steps between two looks at whether answers depend on observations alone

_BY_EPISODE: Final = ("returns", "distances", "lengths", "attacked", "flipped", "reached")  # fields of a Rollout
_BY_STEP: Final = ("observations", "actions")


@dataclass(frozen=True, slots=True)
class Rollout:
    """Finished episodes, in the order of their seeds.

    returns: float64 [episodes], of any sign. distances: float64 [episodes], the largest audited distance of an
    episode's steps. lengths, attacked, flipped, reached: int64 [episodes], steps that were taken, that were disturbed,
    where the agent acted otherwise than it would have, and where it took the action that the trial wants. observations:
    float32 [steps, episodes, numbers], what the agent saw; actions: int64 [steps, episodes]; both zero beyond an
    episode's end.
    """

    returns: Tensor
    distances: Tensor
    lengths: Tensor
    attacked: Tensor
    flipped: Tensor
    reached: Tensor
    observations: Tensor
    actions: Tensor


def roll_out(
    environment: Environment, victim: Victim, seeds: Sequence[int], trial: Trial, ledger: Ledger, trace: Trace
) -> Rollout:
    """Runs one episode for each seed, all at once, and attacks every step.

    The agent acts greedily. Its forwards are its own: the ledger counts the attack's, and the real steps taken. The
    goal at each step is another action than the one that the agent takes on the true observation, or the action that
    the trial wants. Raises what the attack, the audit and the ledger raise.
    """
    episodes, ids = Episodes(environment, seeds), [episode_id(seed) for seed in seeds]
    attacker = _Attacker(environment, victim, trial, Keys.of(trial.seed, ids, trial.device), ledger, trace)
    flipped, reached = torch.zeros(2, len(seeds), dtype=torch.int64)
    seen, acted = [], []
    for step in range(environment.max_steps):
        slots = torch.from_numpy(episodes.slots)
        if not len(slots):
            break
        inputs = Inputs(torch.from_numpy(episodes.observe()).to(trial.device))
        scores = ask(victim, inputs)
        own = scores.values.argmax(1)
        wanted = wanted_actions(environment, trial, inputs, torch.full_like(own, step))
        if trial.attack is not None:
            inputs = attacker.disturb(inputs, own, wanted, slots, step)
            scores = ask(victim, inputs)
        if step % LOOK_EVERY == 0:
            trace.look(victim, inputs, scores)
        trace.add_scores(scores)
        actions = scores.values.argmax(1)
        flipped[slots] += (actions != own).cpu()
        if wanted is not None:
            reached[slots] += (actions == wanted).cpu()
        seen.append(_spread(inputs.values, slots, len(seeds)))
        acted.append(_spread(actions, slots, len(seeds)))
        ledger.environment_steps += len(slots)
        episodes.step(actions.cpu().numpy().astype(np.int64))
    return Rollout(
        returns=torch.from_numpy(episodes.returns),
        distances=attacker.distances,
        lengths=torch.from_numpy(episodes.lengths),
        attacked=attacker.attacked,
        flipped=flipped,
        reached=reached,
        observations=torch.stack(seen),
        actions=torch.stack(acted),
    )


def space_of(environment: Environment, inputs: Inputs, threat: Threat) -> Space:
    """Where true observations can be attacked; raises InvalidThreat for a threat on anything else."""

    def row(numbers: tuple[float, ...] | None) -> Tensor | None:
        return None if numbers is None else torch.tensor(numbers, device=inputs.values.device)

    scale = torch.tensor(environment.scale, device=inputs.values.device)
    return observations(inputs, threat, scale, row(environment.low), row(environment.high))


def wanted_actions(environment: Environment, trial: Trial, inputs: Inputs, steps: Tensor) -> Tensor | None:
    """The actions that the trial wants, int64 [batch]; None where any other than the agent's own will do.

    steps: int64 [batch], of each row. Raises InvalidOption for what are no actions.
    """
    if trial.goal != "target" or trial.wanted is None:
        return None
    wanted = trial.wanted(inputs, steps)
    whole = wanted.dtype == torch.int64 and wanted.shape == steps.shape
    if not whole or bool(((wanted < 0) | (wanted >= environment.actions)).any()):
        raise InvalidOption(
            f"expected {len(steps)} wanted actions, int64 from 0 to {environment.actions - 1}, "
            f"got {wanted.dtype} {list(wanted.shape)}: {wanted.flatten()[:5].tolist()}"
        )
    return wanted


def goal_of(own: Tensor, wanted: Tensor | None) -> Flip:
    """Another action than the agent's own, or the wanted one, which must be another; int64 [batch] both."""
    return Flip(own) if wanted is None else Flip(own, wanted, highest=int(wanted.max()))


def steps_allowed(environment: Environment, threat: Threat) -> int:
    """How many steps of an episode the threat's share lets an attack touch."""
    return math.floor(threat.share * environment.max_steps + 1e-9)


class _Attacker:
    """One attack on a batch of episodes, audited at every step.

    distances, attacked: as a Rollout has them.
    """

    def __init__(
        self, environment: Environment, victim: Victim, trial: Trial, keys: Keys, ledger: Ledger, trace: Trace
    ) -> None:
        self._environment, self._victim, self._trial = environment, victim, trial
        self._keys, self._ledger, self._trace = keys, ledger, trace
        self._memory: dict[str, object] = {}
        self.distances = torch.zeros(len(keys), dtype=torch.float64)
        self.attacked = torch.zeros(len(keys), dtype=torch.int64)

    def disturb(self, inputs: Inputs, own: Tensor, wanted: Tensor | None, slots: Tensor, step: int) -> Inputs:
        """What the agents of `slots` see instead of `inputs`. Rows whose share of steps is spent see the truth, and so
        do those that take the wanted action by themselves."""
        trial, threat = self._trial, self._trial.threat
        assert threat is not None
        allowed = steps_allowed(self._environment, threat)
        chosen = self.attacked[slots] < allowed
        if wanted is not None:
            chosen &= (own != wanted).cpu()
        if not bool(chosen.any()):
            return inputs
        slots, rows = slots[chosen], chosen.nonzero().squeeze(1).to(inputs.values.device)
        on_device = slots.to(inputs.values.device)
        space = space_of(self._environment, inputs.take(rows), threat)
        case = Case(
            self._victim,
            space,
            goal_of(own[rows], None if wanted is None else wanted[rows]),
            self._keys.take(on_device).fold("step", step),
            surrogates=tuple((surrogate, space) for surrogate in trial.surrogates),
            context=Context(step, self._memory, on_device),
        )
        found = attacked(case, trial, self._ledger, self._trace)
        values, distance = found.inputs.values.detach(), found.distance.detach()
        if trial.minimum_norm:
            # What is further than the budget is not shown to the agent, and a failed search shows nothing.
            shown = found.best.success & (distance <= space.radius.to(torch.float64) + space.tolerance())
            values = torch.where(shown[:, None], values, space.inputs.values)
            distance = torch.where(shown, distance, 0.0)
        distance = distance.cpu()
        self.distances[slots] = self.distances[slots].maximum(distance)
        self.attacked[slots] += distance > 0
        if bool((self.attacked > allowed).any()):
            most = int(self.attacked.max())
            raise AuditFailure(f"{threat} allows {allowed} attacked steps an episode, {most} were attacked")
        return Inputs(inputs.values.index_copy(0, rows, values))


def _spread(values: Tensor, slots: Tensor, episodes: int) -> Tensor:
    """Rows at their slots, zero elsewhere."""
    everywhere = torch.zeros((episodes, *values.shape[1:]), dtype=values.dtype)
    everywhere[slots] = values.detach().cpu()
    return everywhere


def joined(parts: Sequence[Rollout]) -> Rollout:
    """The episodes of several rollouts side by side."""
    steps = max(len(part.actions) for part in parts)
    by_episode = {name: torch.cat([getattr(part, name) for part in parts]) for name in _BY_EPISODE}
    by_step = {name: torch.cat([_longer(getattr(part, name), steps) for part in parts], dim=1) for name in _BY_STEP}
    return Rollout(**by_episode, **by_step)


def worst_of(first: Rollout, second: Rollout) -> Rollout:
    """Of each episode the run with the lower return; the second where both are equal."""
    chosen, steps = second.returns <= first.returns, max(len(first.actions), len(second.actions))
    found = {name: torch.where(chosen, getattr(second, name), getattr(first, name)) for name in _BY_EPISODE}
    for name in _BY_STEP:
        ours, theirs = (_longer(getattr(one, name), steps) for one in (second, first))
        found[name] = torch.where(chosen.reshape(-1, *[1] * (ours.ndim - 2)), ours, theirs)
    return Rollout(**found)


def _longer(values: Tensor, steps: int) -> Tensor:
    """Zeros after the end, along the first dimension."""
    return functional.pad(values, (0, 0) * (values.ndim - 1) + (0, steps - len(values)))
