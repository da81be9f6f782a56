"""PGD on 100 CartPole episodes at once, against loops over one environment. `make perf` runs this.

No library attacks an agent in its environment, so the other side is what a user would write: a loop over one
environment, once with this project's own attack at a batch of one and once with PGD written out.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final

import gymnasium
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from adversarial.attacks.pgd import pgd
from adversarial.ledger import Ledger
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim
from benchmarks.perf import judging
from benchmarks.perf.timing import OURS, note, race
from tasks import control
from tasks.control.cartpole import CARTPOLE
from tasks.control.task import make
from tasks.measuring.protocol import Measurement, Trial


MODELS: Final = Path(control.__file__).parent / "models"
STEPS: Final = 10
BUDGET: Final = 0.3
EPISODES: Final = 100


def disturbed(module: nn.Module, observation: Tensor, radius: Tensor) -> Tensor:
    """PGD away from the action that the agent would take, as short as it can be written; stops at success."""
    with torch.no_grad():
        own = module(observation).argmax(1)
    d = (2 * torch.rand_like(observation) - 1) * radius
    for _ in range(STEPS):
        variable = (observation + d).requires_grad_(True)
        logits = module(variable)
        if bool(logits.argmax(1) != own):
            return variable.detach()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, own), variable)
        d = (d + 2.5 / STEPS * radius * gradient.sign()).clamp(-radius, radius)
    return observation + d


def one_environment(module: nn.Module, chosen: tuple[int, ...]) -> int:
    """The steps taken in one Gymnasium environment, an episode for each seed."""
    environment, radius, steps = gymnasium.make(CARTPOLE.name), BUDGET * torch.tensor(CARTPOLE.scale), 0
    for seed in chosen:
        observation, _ = environment.reset(seed=seed)
        over = False
        while not over:
            seen = disturbed(module, torch.from_numpy(observation)[None], radius)
            with torch.no_grad():
                action = int(module(seen).argmax(1))
            observation, _, terminated, truncated, _ = environment.step(action)
            steps, over = steps + 1, terminated or truncated
    return steps


@pytest.mark.parametrize(("name", "in_a_loop"), [("undefended", 3), ("adversarial-training", 1)])
def test_pgd_control(benchmark: Any, name: str, in_a_loop: int) -> None:
    """in_a_loop: episodes of the loops; a speed in steps a second needs no more, and these agents' differ in length."""
    task = make()
    victim = task.load_victim(MODELS / name, torch.device("cpu"))
    assert isinstance(victim, ModuleVictim)
    threat = Threat("observations", "linf", BUDGET)
    bound = partial(pgd, steps=STEPS, relative_step=2.5 / STEPS)

    def ours(episodes: int, size: int) -> tuple[Measurement, int]:
        ledger = Ledger()
        return task.measure(victim, Trial(threat, bound, limit=episodes, batch_size=size), ledger), (
            ledger.environment_steps
        )

    ours(2, 2)
    found = race(
        benchmark,
        partial(ours, EPISODES, EPISODES),
        {
            "ours, one environment": partial(ours, in_a_loop, 1),
            "plain loop": partial(one_environment, victim.module, CARTPOLE.seeds("test")[:in_a_loop]),
        },
    )
    together, steps = found.results[OURS]
    alone, steps_alone = found.results["ours, one environment"]
    taken = {OURS: steps, "ours, one environment": steps_alone, "plain loop": found.results["plain loop"]}
    # Times of as many steps as ours took, so that ratios are of steps a second.
    found.seconds = {who: seconds * steps / taken[who] for who, seconds in found.seconds.items()}
    speeds = {who: round(steps / seconds) for who, seconds in found.seconds.items()}
    note(
        benchmark,
        found,
        (),
        judging.rounded({"steps a second": speeds, "mean return": {OURS: together.metric()}}),
        setting=f"PGD-{STEPS}, linf {BUDGET}, {EPISODES} CartPole episodes, {name} agent",
    )
    assert together.values[:in_a_loop] == alone.values
