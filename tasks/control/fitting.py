"""What attacks of the stage `fit` learn on: observations that the undisturbed agent meets in episodes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch

from adversarial.diagnostics import Trace
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.goals import Flip
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces import observations
from adversarial.victims import Victim
from tasks import FIT_SPLIT
from tasks.control.dataset import SCALE, episode_id, seeds
from tasks.control.rollout import roll_out
from tasks.measuring.protocol import Attack, Fit, Trial


SAMPLES: Final = 1000  # observations to learn on, spread evenly over all steps of all episodes
BATCH: Final = 250


def learned(victim: Victim, trial: Trial, fit: Fit, ledger: Ledger) -> Attack:
    """The attack as it is after its fit; the real steps and the attack's passes count in the ledger."""
    if trial.split == FIT_SPLIT:
        raise InvalidOption(f"attacks that are fitted learn on the split {FIT_SPLIT}; measure them on another one")
    threat = trial.threat
    if threat is None or threat.surface != "observations":
        raise NotApplicable(f"control-cartpole offers observations, not {threat and threat.surface}")
    chosen = seeds(FIT_SPLIT)
    clean = replace(trial, threat=None, attack=None, fit=None)
    met = roll_out(victim, chosen, clean, ledger, Trace())
    rows = [(step, episode) for episode, length in enumerate(met.returns.tolist()) for step in range(int(length))]
    rows = [rows[place * len(rows) // SAMPLES] for place in range(SAMPLES)] if len(rows) > SAMPLES else rows
    steps, episodes = (torch.tensor(column) for column in zip(*rows, strict=True))
    values, actions = met.observations[steps, episodes], met.actions[steps, episodes]
    ids = [f"{episode_id(chosen[episode])}-{step}" for step, episode in rows]

    def problems() -> Iterator[Problem]:
        for start in range(0, len(rows), BATCH):
            part = torch.arange(start, min(start + BATCH, len(rows)))
            space = observations(
                Inputs(values[part].to(trial.device)), threat, torch.tensor(SCALE, device=trial.device)
            )
            keys = Keys.of(trial.seed, [ids[row] for row in part.tolist()], trial.device).fold("fit")
            goal = Flip(actions[part].to(trial.device))
            yield Problem(victim, space, goal, threat, keys, ledger=ledger, early_stopping=False, half=trial.half)

    return fit(problems)
