"""One action at every step: forced wherever the exact bound of a linear policy says that it can be, and adding up where
flips cancel."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tasks
from adversarial.attacks.force import force
from adversarial.attacks.pgd import pgd
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.goals import Flip, RaiseLoss
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces import observations
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim
from tasks.control.task import make
from tasks.measuring.protocol import Trial


BUDGET = 0.3
THREAT = Threat("observations", "linf", BUDGET)


def linear(actions: int, seed: int) -> tuple[nn.Linear, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    policy = nn.Linear(4, actions)
    with torch.no_grad():
        policy.weight.copy_(torch.randn(actions, 4, generator=draw))
        policy.bias.copy_(torch.randn(actions, generator=draw))
    return policy, torch.randn(200, 4, generator=draw)


def attacked(policy: nn.Linear, seen: Tensor) -> Problem:
    victim, inputs = ModuleVictim(policy), Inputs(seen)
    own = victim(inputs).values.argmax(1)
    keys = Keys.of(0, [str(row) for row in range(len(seen))])
    return Problem(victim, observations(inputs, THREAT, torch.ones(4)), Flip(own), THREAT, keys)


@pytest.mark.parametrize("action", [0, 1])
def test_of_two_actions_the_wanted_one_is_forced_wherever_it_can_be(action: int) -> None:
    policy, seen = linear(2, action)
    problem = attacked(policy, seen)
    force(problem, action=action)
    with torch.no_grad():
        taken = policy(seen + problem.best.d).argmax(1)
        lead = policy(seen)[:, action] - policy(seen)[:, 1 - action]
        reach = BUDGET * (policy.weight[action] - policy.weight[1 - action]).abs().sum()
    can = lead + reach > 0
    assert bool(can.any())
    assert not bool(can.all())
    assert torch.equal(taken == action, can)
    # What decides so by itself stays as it is.
    assert not bool(problem.best.d[lead > 0].any())


def test_of_several_actions_it_is_the_wanted_one_and_not_just_another() -> None:
    policy, seen = linear(4, 7)
    problem = attacked(policy, seen)
    force(problem, action=2, steps=40)
    with torch.no_grad():
        taken = policy(seen + problem.best.d).argmax(1)
    assert torch.equal(problem.best.success, (taken == 2) & (problem.goal.labels != 2))  # type: ignore[attr-defined]
    # No point of the ball does better than its corners, where a linear policy decides.
    corners = torch.from_numpy(np.array(np.meshgrid(*[[-BUDGET, BUDGET]] * 4)).reshape(4, -1).T).float()
    with torch.no_grad():
        at_corners = policy((seen[:, None] + corners).flatten(0, 1)).argmax(1).reshape(len(seen), -1)
    can = (at_corners == 2).any(1)
    assert int((taken == 2).sum()) >= 0.95 * int(can.sum())


def returns(attack: Callable[..., None], **params: int) -> float:
    task = make()
    victim = task.load_victim(Path(tasks.__file__).parent / "control" / "models" / "undefended", torch.device("cpu"))
    return task.measure(victim, Trial(THREAT, partial(attack, **params), limit=20), Ledger()).metric()


@pytest.mark.slow
def test_one_action_adds_up_where_flips_cancel() -> None:
    flipped = returns(pgd, steps=10)
    forced = min(returns(force, action=action) for action in (0, 1))
    assert 100 < forced < 0.95 * flipped < 200


def test_what_it_refuses() -> None:
    problem = attacked(*linear(2, 0))
    with pytest.raises(InvalidOption, match="action"):
        force(problem, action=-1)
    with pytest.raises(NotApplicable, match=r"class 2, counted from 0 is attacked, and the victim answers \[2\]"):
        force(problem, action=2)
    undecided = Problem(problem._victim, problem.space, RaiseLoss(problem.goal), THREAT, problem.keys)
    with pytest.raises(NotApplicable, match="decision among actions"):
        force(undecided)


def test_scores_of_frames_are_no_actions() -> None:
    class Frames:
        differentiable = True

        def __call__(self, inputs: Inputs) -> Scores:
            return Scores(inputs.values[:, :, None].expand(-1, -1, 3))

    policy, seen = linear(2, 0)
    problem = attacked(policy, seen)
    framed = Problem(Frames(), problem.space, problem.goal, THREAT, problem.keys)
    with pytest.raises(NotApplicable, match="decision"):
        force(framed, action=1)
