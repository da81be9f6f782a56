"""The task control-cartpole: rollouts under attack, their accounts and audits, and the shipped policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from adversarial.attacks.fgsm import fgsm
from adversarial.attacks.noise import noise
from adversarial.attacks.pgd import pgd
from adversarial.diagnostics import Trace
from adversarial.errors import AuditFailure, NotApplicable, UnknownName
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.threats import Threat
from adversarial.victims import Victim
from benchmarks.catalog import catalog
from tasks import control
from tasks.control.cartpole import CARTPOLE, RECIPES, data_hash
from tasks.control.cartpole import THREAT as BUDGET
from tasks.control.task import Control, make
from tasks.measuring.environments import Episodes
from tasks.measuring.protocol import Measurement, Task, Trial
from tasks.measuring.rollouts import Rollout, roll_out
from tasks.measuring.training import defense_of
from tasks.models.cards import read_card


MODELS = Path(control.__file__).parent / "models"
THREAT = Threat.parse(BUDGET)
CPU = torch.device("cpu")


class RowWise:
    """A linear balancer made of elementwise operations: no batch size can round a row otherwise. Counts its rows."""

    differentiable = True
    weights = (0.4, 0.6, 4.0, 3.0)

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, inputs: Inputs) -> Scores:
        values = inputs.values
        self.rows += len(values)
        lean = values[:, 0] * self.weights[0]
        for column in (1, 2, 3):
            lean = lean + values[:, column] * self.weights[column]
        return Scores(torch.stack([-lean, lean], dim=1))


def shipped(model: str) -> Victim:
    return make().load_victim(MODELS / model, CPU)


def measure(
    victim: Victim,
    attack: Callable[[Problem], None] | None = None,
    threat: Threat | None = None,
    ledger: Ledger | None = None,
    limit: int = 10,
    batch_size: int = 100,
    steps: int = CARTPOLE.max_steps,
) -> Measurement:
    trial = Trial(threat, attack, limit=limit, batch_size=batch_size, seed=3)
    return of_steps(steps).measure(victim, trial, ledger or Ledger())


def of_steps(steps: int) -> Control:
    """The task with shorter episodes."""
    return Control("control-cartpole", replace(CARTPOLE, max_steps=steps), RECIPES)


def test_it_is_a_task() -> None:
    task = make()
    assert isinstance(task, Task)
    assert task.metric.quality(CARTPOLE.random_return) == 0
    assert task.metric.quality(500) == 1


def test_splits_are_disjoint_and_hashed_apart() -> None:
    assert (len(CARTPOLE.seeds("test")), len(CARTPOLE.seeds("validation"))) == (100, 50)
    assert not set(CARTPOLE.seeds("test")) & set(CARTPOLE.seeds("validation"))
    assert len({data_hash(split) for split in CARTPOLE.splits}) == 3
    with pytest.raises(UnknownName, match="did you mean 'test'"):
        data_hash("tests")


def test_the_random_return_is_that_of_keyed_coin_flips() -> None:
    keys, episodes, step = Keys.of(0, CARTPOLE.ids("test")), Episodes(CARTPOLE, CARTPOLE.seeds("test")), 0
    while episodes.running.any():
        running = keys.take(torch.from_numpy(episodes.slots)).fold("random-policy", step)
        episodes.step(running.integers((), 2).numpy())
        step += 1
    assert episodes.returns.mean() == pytest.approx(CARTPOLE.random_return, abs=1e-9)


@pytest.mark.parametrize("model", RECIPES)
def test_shipped_policies_balance(model: str) -> None:
    card = read_card(MODELS / model)
    measured = make().measure(shipped(model), Trial(None, None, batch_size=100), Ledger())
    assert measured.metric() >= 475
    assert measured.metric() == pytest.approx(card.clean["return"], abs=5)
    assert measured.findings == ()
    assert set(measured.examples.distances) == {0.0}
    assert not measured.evidence
    assert card.data_hash == data_hash("train")
    assert card.recipe["threat"] in ("", BUDGET)


def test_pgd_fells_the_undefended_policy_and_not_the_trained_one() -> None:
    attack = partial(pgd, steps=2)
    weak = measure(shipped("undefended"), attack, THREAT, limit=3)
    strong = measure(shipped("adversarial-training"), attack, THREAT, limit=3)
    assert weak.metric() < 0.4 * 500
    assert strong.metric() > weak.metric() + 0.3 * (500 - CARTPOLE.random_return)
    assert weak.findings == strong.findings == ()


def test_an_attack_leaves_distances_columns_and_evidence() -> None:
    measured = measure(shipped("undefended"), fgsm, THREAT, limit=4, batch_size=3)
    assert measured.examples.ids == CARTPOLE.ids("test")[:4]
    assert measured.examples.distances == pytest.approx((0.3,) * 4, abs=1e-5)
    assert measured.examples.columns["attacked_steps"] == measured.examples.values
    assert 0 < min(measured.examples.columns["flipped_steps"]) <= max(measured.examples.columns["flipped_steps"]) < 500
    seen, actions = measured.evidence["observations"], measured.evidence["actions"]
    longest = int(max(measured.examples.values))
    assert (seen.shape, seen.dtype) == ((longest, 4, 4), torch.float32)
    assert (actions.shape, actions.dtype) == ((longest, 4), torch.int64)
    for episode, length in enumerate(measured.examples.values):
        assert not seen[int(length) :, episode].any()
        assert not actions[int(length) :, episode].any()


def test_the_evidence_replays_to_the_returns() -> None:
    measured = measure(shipped("undefended"), fgsm, THREAT, limit=4)
    episodes = Episodes(CARTPOLE, CARTPOLE.seeds("test")[:4])
    for actions in measured.evidence["actions"].numpy():
        episodes.step(actions[episodes.running])
    assert tuple(episodes.returns.tolist()) == measured.examples.values
    assert not episodes.running.any()


def as_bytes(measured: Measurement) -> list[bytes]:
    """All numbers of a measurement, the padding of its evidence aside."""
    lengths = [int(length) for length in measured.examples.values]
    evidence = [
        tensor[:length, episode].contiguous().numpy().tobytes()
        for tensor in measured.evidence.values()
        for episode, length in enumerate(lengths)
    ]
    numbers = (measured.examples.values, measured.examples.distances, *measured.examples.columns.values())
    return [np.array(column).tobytes() for column in numbers] + evidence


ATTACKS: dict[str, Callable[[Problem], None]] = {
    "noise": partial(noise, distribution="uniform"),
    "fgsm": fgsm,
    "pgd": partial(pgd, steps=2, restarts=2),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_two_runs_are_the_same_bytes(attack: str) -> None:
    state = torch.get_rng_state()
    first, second = (measure(shipped("undefended"), ATTACKS[attack], THREAT, limit=3, steps=60) for _ in range(2))
    assert as_bytes(first) == as_bytes(second)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_batch_size_changes_a_row_wise_victim(attack: str) -> None:
    threat = replace(THREAT, budget=1.0)
    found = [
        as_bytes(measure(RowWise(), ATTACKS[attack], threat, limit=9, batch_size=size, steps=25))
        for size in (1, 7, 100)
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_order_changes_a_row_wise_victim(attack: str) -> None:
    environment = replace(CARTPOLE, max_steps=60)
    trial = Trial(replace(THREAT, budget=3.0), ATTACKS[attack], seed=3)
    seeds = CARTPOLE.seeds("test")[:9]
    forwards, backwards = (
        roll_out(environment, RowWise(), order, trial, Ledger(), Trace()) for order in (seeds, seeds[::-1])
    )
    assert len(set(forwards.returns.tolist())) > 1
    assert fields(forwards) == fields(backwards, flipped=True)


def fields(found: Rollout, flipped: bool = False) -> list[bytes]:
    def ordered(values: Tensor, dimension: int) -> bytes:
        return bytes((values.flip(dimension) if flipped else values).contiguous().numpy().tobytes())

    rows = (found.returns, found.distances, found.lengths, found.attacked, found.flipped)
    return [ordered(row, 0) for row in rows] + [ordered(found.observations, 1), ordered(found.actions, 1)]


@pytest.mark.parametrize("attack", ["none", "noise", "fgsm"])
def test_the_ledger_counts_the_attack_alone(attack: str) -> None:
    victim, ledger = RowWise(), Ledger()
    measured = measure(victim, ATTACKS.get(attack), None if attack == "none" else THREAT, ledger, limit=5)
    steps = int(sum(measured.examples.values))
    asked = steps if attack == "fgsm" else 0
    assert ledger.environment_steps == steps
    assert (ledger.forwards, ledger.backwards, ledger.queries) == (asked, asked, asked)
    own = steps if attack == "none" else 2 * steps  # on the truth, for the goal, and on what it then saw
    running = [sum(step < value for value in measured.examples.values) for step in range(0, 500, 50)]
    # The first row alone, all again, all in reverse, all with gradients on.
    looks = sum(1 + rows + rows * (rows > 1) + rows for rows in running if rows)
    assert victim.rows == own + asked + looks


def test_pgd_without_early_stopping_costs_its_formula() -> None:
    ledger = Ledger()
    trial = Trial(THREAT, partial(pgd, steps=4, restarts=2), limit=5, early_stopping=False)
    measured = of_steps(6).measure(RowWise(), trial, ledger)
    assert measured.examples.values == (6.0,) * 5
    assert (ledger.forwards, ledger.backwards) == (30 * 2 * 5, 30 * 2 * 4)


def test_an_attack_over_budget_fails() -> None:
    def cheat(problem: Problem) -> None:
        problem.submit(torch.full_like(problem.inputs.values, 0.31 * CARTPOLE.scale[2]))

    with pytest.raises(AuditFailure, match="over budget"):
        measure(RowWise(), cheat, THREAT)


def test_an_attack_that_writes_into_observations_fails() -> None:
    def cheat(problem: Problem) -> None:
        problem.inputs.values.zero_()

    with pytest.raises(AuditFailure, match="in place"):
        measure(RowWise(), cheat, THREAT)


def test_a_share_of_steps_is_kept() -> None:
    threat = replace(THREAT, share=0.25)
    ledger = Ledger()
    measured = measure(RowWise(), fgsm, threat, ledger, limit=5, steps=40)
    assert measured.examples.columns["attacked_steps"] == (10.0,) * 5
    assert ledger.forwards == 50
    assert as_bytes(measured) == as_bytes(measure(RowWise(), fgsm, threat, limit=5, batch_size=2, steps=40))


def test_memory_is_found_again_when_rows_move() -> None:
    """Each episode gets the sign that was drawn for it at the first step, whoever has finished since."""

    def stubborn(problem: Problem) -> None:
        assert problem.context is not None
        memory, episodes = problem.context.memory, problem.context.episodes
        if problem.context.step == 0:
            memory["sign"] = problem.keys.sign((4,))
        space = problem.space
        problem.submit(space.project(1e3 * memory["sign"][episodes]))

    threat = replace(THREAT, budget=2.0)
    together = measure(RowWise(), stubborn, threat, limit=5, steps=120)
    assert len(set(together.examples.values)) > 1
    assert as_bytes(together) == as_bytes(measure(RowWise(), stubborn, threat, limit=5, batch_size=1, steps=120))


def test_what_does_not_fit_says_so() -> None:
    with pytest.raises(NotApplicable, match="offers observations"):
        measure(RowWise(), noise, Threat.parse("pixels-linf:0.1@none"))
    with pytest.raises(NotApplicable, match="goal flip"):
        make().measure(RowWise(), Trial(THREAT, fgsm, goal="worst", limit=2), Ledger())


@pytest.mark.parametrize("model", RECIPES)
def test_training_is_deterministic_and_leaves_global_generators_alone(model: str, tmp_path: Path) -> None:
    recipe = RECIPES[model]
    small = replace(recipe, epochs=2, options={**recipe.options, "slots": 8, "steps": 16, "passes": 2})
    state, lines = torch.get_rng_state(), list[str]()
    for folder in ("first", "second"):
        make().train(small, defense_of(small, catalog()), tmp_path / folder, lines.append)
    first, second = read_card(tmp_path / "first"), read_card(tmp_path / "second")
    assert first == second
    assert first.command == f"robustarena train control-cartpole/{model}"
    assert torch.equal(torch.get_rng_state(), state)
