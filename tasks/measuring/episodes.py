"""Measuring a task whose examples are episodes: one batch of running agents, one problem a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from adversarial.diagnostics import Trace
from adversarial.errors import NotApplicable
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.victims import Victim
from leaderboard.records.record import BUDGET_PREFIX, Examples
from tasks import FIT_SPLIT
from tasks.measuring.attacking import Case, fitted
from tasks.measuring.environments import Environment, episode_id
from tasks.measuring.protocol import Measurement, Trial
from tasks.measuring.rollouts import Rollout, goal_of, joined, roll_out, space_of, wanted_actions, worst_of


SAMPLES: Final = 1000  # observations that a fit learns on, spread evenly over all steps of all episodes
BATCH: Final = 250


def measure_episodes(environment: Environment, victim: Victim, trial: Trial, ledger: Ledger) -> Measurement:
    """The true returns of a split's episodes, whatever the agent was made to see, and what was done to them.

    Raises NotApplicable where an environment cannot be attacked so, and what the attack, the audit and the ledger
    raise.
    """
    _check(environment, trial)
    trace = Trace()
    if trial.fit is not None:
        trial = fitted(_met(environment, victim, trial, ledger), trial, ledger)
    chosen = environment.seeds(trial.split)[: trial.limit]
    curve: dict[str, tuple[float, ...]] = {}
    worst: Rollout | None = None
    for share in trial.shares:
        threat = trial.threat if share == 1 or trial.threat is None else trial.threat.scaled(share)
        at_share = replace(trial, threat=threat)
        parts = (chosen[start : start + trial.batch_size] for start in range(0, len(chosen), trial.batch_size))
        rollout = joined([roll_out(environment, victim, part, at_share, ledger, trace) for part in parts])
        # What an attacker reaches with less, it reaches with more.
        worst = rollout if worst is None else worst_of(worst, rollout)
        curve[f"{BUDGET_PREFIX}{share:g}"] = _numbers(worst.returns)
        if share == 1:
            nominal = worst
    moves = trial.attack is not None and trial.threat is not None and trial.threat.radius > 0
    return Measurement(
        Examples(
            ids=tuple(episode_id(seed) for seed in chosen),
            values=_numbers(nominal.returns),
            weights=(1.0,) * len(chosen),
            distances=_numbers(nominal.distances),
            columns={
                "attacked_steps": _numbers(nominal.attacked),
                "flipped_steps": _numbers(nominal.flipped),
                **({"reached_steps": _numbers(nominal.reached)} if trial.goal == "target" else {}),
                **(curve if trial.curve else {}),
            },
        ),
        findings=trace.findings(moves),
        # Replaying the actions proves the returns.
        evidence={"observations": nominal.observations, "actions": nominal.actions} if moves else {},
    )


def _check(environment: Environment, trial: Trial) -> None:
    if trial.threat is None or (trial.attack is None and trial.fit is None):
        return
    if trial.threat.surface != "observations":
        raise NotApplicable(f"{environment.name} offers observations, not {trial.threat.surface}")
    if trial.goal == "worst":
        raise NotApplicable(f"{environment.name} is attacked with the goal flip or target, not worst")
    if trial.goal == "target" and trial.wanted is None:
        raise NotApplicable(
            "the goal target wants a given action at each step: give the trial's `wanted`, or run an attack that names "
            "its action itself, such as force, with the goal flip"
        )


def _met(environment: Environment, victim: Victim, trial: Trial, ledger: Ledger) -> Callable[[], Iterator[Case]]:
    """What a fit learns on: observations that the undisturbed agent meets in episodes of their own."""
    threat, seeds = trial.threat, environment.seeds(FIT_SPLIT)
    assert threat is not None
    clean = replace(trial, threat=None, attack=None, fit=None)
    met = roll_out(environment, victim, seeds, clean, ledger, Trace())
    rows = [(step, episode) for episode, length in enumerate(met.lengths.tolist()) for step in range(length)]
    rows = [rows[place * len(rows) // SAMPLES] for place in range(SAMPLES)] if len(rows) > SAMPLES else rows
    steps, episodes = (torch.tensor(column) for column in zip(*rows, strict=True))
    values, own = (tensor[steps, episodes].to(trial.device) for tensor in (met.observations, met.actions))
    wanted = wanted_actions(environment, trial, Inputs(values), steps.to(trial.device))
    # What the agent does by itself needs no perturbation.
    open_rows = torch.arange(len(rows), device=trial.device) if wanted is None else (own != wanted).nonzero().squeeze(1)

    def cases() -> Iterator[Case]:
        for part in torch.split(open_rows, BATCH):
            ids = [f"{episode_id(seeds[rows[row][1]])}-{rows[row][0]}" for row in part.tolist()]
            goal = goal_of(own[part], None if wanted is None else wanted[part])
            space = space_of(environment, Inputs(values[part]), threat)
            yield Case(victim, space, goal, Keys.of(trial.seed, ids, trial.device))

    return cases


def _numbers(values: Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in values.tolist())
