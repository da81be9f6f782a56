"""Rollouts under attack: at every step one problem, made of what all running agents see at that moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adversarial.answers import Context
from adversarial.audit import audit
from adversarial.diagnostics import Trace
from adversarial.errors import AuditFailure, NotApplicable, QueryLimitReached
from adversarial.goals import Flip
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces import observations
from adversarial.threats import Threat
from adversarial.victims import Victim, ask, weight_versions
from tasks.control.dataset import MAX_STEPS, SCALE, episode_id
from tasks.control.environment import Episodes
from tasks.measuring.protocol import Trial


LOOK_EVERY = 50  # steps between two looks at whether answers depend on observations alone


@dataclass(frozen=True, slots=True)
class Rollout:
    """Finished episodes, in the order of their seeds.

    returns: float64 [episodes]. distances: float64 [episodes], the largest audited distance of an episode's steps.
    attacked, flipped: int64 [episodes], steps that were disturbed, and steps where the agent acted otherwise than it
    would have. observations: float32 [steps, episodes, 4], what the agent saw; actions: int64 [steps, episodes];
    both zero beyond an episode's end.
    """

    returns: Tensor
    distances: Tensor
    attacked: Tensor
    flipped: Tensor
    observations: Tensor
    actions: Tensor


def roll_out(victim: Victim, seeds: Sequence[int], trial: Trial, ledger: Ledger, trace: Trace) -> Rollout:
    """Runs one episode for each seed, all at once, and attacks every step.

    The agent acts greedily. Its forwards are its own: the ledger counts the attack's, and the real steps taken. An
    attack is judged by the metric of a `flip`: another action than the one that the agent takes on the true
    observation. Raises what the attack, the audit and the ledger raise.
    """
    episodes, ids = Episodes(seeds), [episode_id(seed) for seed in seeds]
    attacker = _Attacker(victim, trial, Keys.of(trial.seed, ids, trial.device), ledger, trace)
    flipped = torch.zeros(len(seeds), dtype=torch.int64)
    seen, acted = [], []
    for step in range(MAX_STEPS):
        slots = torch.from_numpy(episodes.slots)
        if not len(slots):
            break
        inputs = Inputs(torch.from_numpy(episodes.observe()).to(trial.device))
        scores = ask(victim, inputs)
        own = scores.values.argmax(1)
        if trial.attack is not None:
            inputs = attacker.disturb(inputs, own, slots, step)
            scores = ask(victim, inputs)
        if step % LOOK_EVERY == 0:
            trace.look(victim, inputs, scores)
        trace.add_scores(scores)
        actions = scores.values.argmax(1)
        flipped[slots] += (actions != own).cpu()
        seen.append(_spread(inputs.values, slots, len(seeds)))
        acted.append(_spread(actions, slots, len(seeds)))
        ledger.environment_steps += len(slots)
        episodes.step(actions.cpu().numpy().astype(np.int64))
    return Rollout(
        returns=torch.from_numpy(episodes.returns),
        distances=attacker.distances,
        attacked=attacker.attacked,
        flipped=flipped,
        observations=torch.stack(seen),
        actions=torch.stack(acted),
    )


def steps_allowed(threat: Threat) -> int:
    """How many steps of an episode the threat's share lets an attack touch."""
    return math.floor(threat.share * MAX_STEPS + 1e-9)


class _Attacker:
    """One attack on a batch of episodes, audited at every step.

    distances, attacked: as a Rollout has them.
    """

    def __init__(self, victim: Victim, trial: Trial, keys: Keys, ledger: Ledger, trace: Trace) -> None:
        self._victim, self._trial, self._keys, self._ledger, self._trace = victim, trial, keys, ledger, trace
        self._scale = torch.tensor(SCALE, device=trial.device)
        self._memory: dict[str, object] = {}
        self.distances = torch.zeros(len(keys), dtype=torch.float64)
        self.attacked = torch.zeros(len(keys), dtype=torch.int64)

    def disturb(self, inputs: Inputs, own: Tensor, slots: Tensor, step: int) -> Inputs:
        """What the agents of `slots` see instead of `inputs`; rows whose share of steps is spent see the truth."""
        threat = self._trial.threat
        if threat is None or self._trial.attack is None:
            return inputs
        if threat.surface != "observations":
            raise NotApplicable(f"control-cartpole offers observations, not {threat.surface}")
        if self._trial.goal != "flip":
            raise NotApplicable(f"control-cartpole is attacked with the goal flip, not {self._trial.goal}")
        allowed = steps_allowed(threat)
        open_rows = (self.attacked[slots] < allowed).nonzero().squeeze(1)
        if not len(open_rows):
            return inputs
        rows, slots = open_rows.to(inputs.values.device), slots[open_rows]
        space = observations(inputs.take(rows), threat, self._scale)
        radius = space.radius.to(torch.float64) + space.tolerance()
        if self._trial.minimum_norm:
            space = space.with_budget(torch.full_like(space.radius, torch.inf))
        before, weights = space.inputs.clone(), weight_versions(self._victim)
        on_device = slots.to(inputs.values.device)
        goal, keys = Flip(own[rows]), self._keys.take(on_device).fold("step", step)
        problem = Problem(
            self._victim,
            space,
            goal,
            threat,
            keys,
            ledger=self._ledger,
            early_stopping=self._trial.early_stopping,
            context=Context(step, self._memory, on_device),
            minimum_norm=self._trial.minimum_norm,
            surrogates=tuple(
                Problem(
                    surrogate,
                    space,
                    goal,
                    threat.on_surrogates(),
                    keys,
                    ledger=self._ledger,
                    early_stopping=False,
                    context=Context(step, {}, on_device),
                    own_model=True,
                )
                for surrogate in self._trial.surrogates
            ),
            half=self._trial.half,
        )
        with suppress(QueryLimitReached):  # the end of the attack on this step, not a fault of it
            self._trial.attack(problem)
        audited = audit(space, problem.best.d, before, weights, weight_versions(self._victim))
        self._trace.add_search(problem.best, audited.distance)
        disturbed, distance = audited.inputs.values.detach(), audited.distance.detach()
        if self._trial.minimum_norm:
            # What is further than the budget is not shown to the agent, and a failed search shows nothing.
            shown = problem.best.success & (distance <= radius)
            disturbed = torch.where(shown[:, None], disturbed, space.inputs.values)
            distance = torch.where(shown, distance, 0.0)
        distance = distance.cpu()
        self.distances[slots] = self.distances[slots].maximum(distance)
        self.attacked[slots] += distance > 0
        if bool((self.attacked > allowed).any()):
            most = int(self.attacked.max())
            raise AuditFailure(f"{threat} allows {allowed} attacked steps an episode, {most} were attacked")
        return Inputs(inputs.values.index_copy(0, rows, disturbed))


def _spread(values: Tensor, slots: Tensor, episodes: int) -> Tensor:
    """Rows at their slots, zero elsewhere."""
    everywhere = torch.zeros((episodes, *values.shape[1:]), dtype=values.dtype)
    everywhere[slots] = values.detach().cpu()
    return everywhere


def joined(parts: Sequence[Rollout]) -> Rollout:
    """The episodes of several rollouts side by side."""
    steps = max(len(part.actions) for part in parts)
    return Rollout(
        returns=torch.cat([part.returns for part in parts]),
        distances=torch.cat([part.distances for part in parts]),
        attacked=torch.cat([part.attacked for part in parts]),
        flipped=torch.cat([part.flipped for part in parts]),
        observations=torch.cat([_longer(part.observations, steps) for part in parts], dim=1),
        actions=torch.cat([_longer(part.actions, steps) for part in parts], dim=1),
    )


def worst_of(first: Rollout, second: Rollout) -> Rollout:
    """Of each episode the run with the lower return; the second where both are equal."""
    chosen, steps = second.returns <= first.returns, max(len(first.actions), len(second.actions))
    longer = (_longer(second.observations, steps), _longer(first.observations, steps))
    return Rollout(
        returns=torch.where(chosen, second.returns, first.returns),
        distances=torch.where(chosen, second.distances, first.distances),
        attacked=torch.where(chosen, second.attacked, first.attacked),
        flipped=torch.where(chosen, second.flipped, first.flipped),
        observations=torch.where(chosen[:, None], *longer),
        actions=torch.where(chosen, _longer(second.actions, steps), _longer(first.actions, steps)),
    )


def _longer(values: Tensor, steps: int) -> Tensor:
    """Zeros after the end, along the first dimension."""
    return functional.pad(values, (0, 0) * (values.ndim - 1) + (0, steps - len(values)))
