"""Everything that plays episodes takes the environment: a walk with negative rewards, whose worst case is exact."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from synthetic import cell
from torch import Tensor
from walk import STEPS, WALK, WALL, Homeward, reachable, worst, worst_policy

from adversarial.attacks.fgsm import fgsm
from adversarial.attacks.force import force
from adversarial.attacks.noise import noise
from adversarial.attacks.pgd import pgd
from adversarial.attacks.universal import universal
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.inputs import Inputs
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.threats import Threat
from leaderboard.records.record import Result
from leaderboard.scoring.samples import sample_of, worst_case
from leaderboard.scoring.statistics import difference, metric_interval, quality_interval
from tasks.control.task import Control
from tasks.measuring.protocol import Attack, Measurement, Task, Trial
from tasks.models.cards import read_card
from tasks.models.recipes import Recipe


ROOT = Path(__file__).parent.parent
TASK = Control("control-walk", WALK, {})
SEEDS = WALK.seeds("test")


def threat(budget: float, norm: str = "linf") -> Threat:
    return Threat.parse(f"observations-{norm}:{budget}")


def measured(trial: Trial, rest: float = 0.5, ledger: Ledger | None = None) -> Measurement:
    return TASK.measure(Homeward(rest), trial, ledger or Ledger())


def straight_home(place: int) -> float:
    return -sum(range(abs(place)))


def to_and_fro(place: int) -> float:
    """Home is one step away again and again: at 1 the next step leads to 2, and from there back to 1."""
    return straight_home(place) - sum((2, 1)[step % 2] for step in range(STEPS - abs(place) + 1))


def test_it_is_a_task_with_a_metric_below_zero() -> None:
    assert isinstance(TASK, Task)
    assert (TASK.metric.quality(-40), TASK.metric.quality(-22.5), TASK.metric.quality(-5)) == (0, 0.5, 1)
    assert len({WALK.data_hash(split) for split in WALK.splits}) == 3
    assert WALK.data_hash("test") != replace(WALK, low=None).data_hash("test")


def test_clean_returns_and_lengths() -> None:
    ledger = Ledger()
    found = measured(Trial(None, None, batch_size=4), ledger=ledger)
    assert found.examples.values == tuple(straight_home(place) for place in SEEDS)
    assert found.metric() == pytest.approx(sum(found.examples.values) / len(SEEDS))
    assert ledger.environment_steps == sum(abs(place) for place in SEEDS)
    assert found.findings == ()


@pytest.mark.parametrize("attack", [fgsm, partial(pgd, steps=5)], ids=["fgsm", "pgd"])
def test_the_attacked_return_is_that_of_hand_and_replays(attack: Attack) -> None:
    """With rest far below the rest, only the sign of the place counts, and 1.5 turns it at 1 but not at 2."""
    trial = Trial(threat(1.5), attack, batch_size=4, curve=(0.5, 2))
    found = measured(trial, rest=-100)
    assert found.examples.values == tuple(to_and_fro(place) for place in SEEDS)
    assert found.examples.columns["budget_x0.5"] == tuple(straight_home(place) for place in SEEDS)
    assert all(
        more <= less for more, less in zip(found.examples.columns["budget_x2"], found.examples.values, strict=True)
    )
    again = TASK.rescore(Homeward(-100), trial, found.evidence)
    assert again.values == found.examples.values
    assert not any(again.over)


def test_a_record_that_claims_another_return_is_not_what_its_evidence_does() -> None:
    trial = Trial(threat(1.5), fgsm)
    found = measured(trial, rest=-100)
    acted = found.evidence["actions"].clone()
    acted[0, 2] = 2 - acted[0, 2]
    again = TASK.rescore(Homeward(-100), trial, {**found.evidence, "actions": acted})
    assert [row for row, over in enumerate(again.over) if over] == [2]
    beyond = found.evidence["observations"].clone()
    beyond[0, 3, 0] = WALL + 1e-3  # no place of this line, however near
    again = TASK.rescore(Homeward(-100), replace(trial, threat=threat(20)), {**found.evidence, "observations": beyond})
    assert again.over[3]


@pytest.mark.parametrize("budget", [0.4, 0.75, 1.6, 2.6])
def test_the_optimal_attacker_reaches_the_exact_worst_case(budget: float) -> None:
    wish = worst_policy(budget)
    trial = Trial(threat(budget), partial(pgd, steps=20, loss="margin"), goal="target", wanted=wish)
    found = measured(trial)
    assert found.examples.values == tuple(worst(place, budget)[0] for place in SEEDS)
    # It never wants what it cannot have.
    assert found.examples.columns["reached_steps"] == pytest.approx(lengths(found.evidence["actions"], SEEDS))
    again = TASK.rescore(Homeward(), trial, found.evidence)
    assert again.values == found.examples.values
    assert not any(again.over)


@pytest.mark.parametrize("name", ["noise", "fgsm", "pgd", "force-0", "force-1", "force-2"])
def test_no_attacker_gets_below_the_exact_worst_case(name: str) -> None:
    attacks: dict[str, Attack] = {
        "noise": partial(noise, distribution="sign"),
        "fgsm": fgsm,
        "pgd": partial(pgd, steps=5),
        **{f"force-{action}": partial(force, action=action) for action in range(3)},
    }
    found = measured(Trial(threat(1.6), attacks[name], seed=1))
    assert all(value >= worst(place, 1.6)[0] for value, place in zip(found.examples.values, SEEDS, strict=True))


@pytest.mark.parametrize("action", range(3))
@pytest.mark.parametrize("budget", [0.3, 1.6])
def test_a_wanted_action_is_taken_where_the_closed_form_says_so_and_nowhere_else(action: int, budget: float) -> None:
    def always(inputs: Inputs, steps: Tensor) -> Tensor:
        assert len(inputs) == len(steps)
        return torch.full_like(steps, action)

    trial = Trial(threat(budget), partial(pgd, steps=20, loss="margin"), goal="target", wanted=always)
    found, reached = measured(trial), [0] * len(SEEDS)
    for episode, place in enumerate(SEEDS):
        for step in range(STEPS):
            taken, shown = int(found.evidence["actions"][step, episode]), found.evidence["observations"][step, episode]
            assert (taken == action) == (action in reachable(place, budget))
            if reachable(place, 0) == (action,):
                assert float(shown[0]) == place  # what is done anyway stays untouched
            reached[episode] += taken == action
            place = max(-WALL, min(WALL, place + taken - 1))
            if place == 0:
                break
    assert found.examples.columns["reached_steps"] == tuple(reached)


def test_forcing_an_action_is_wanting_it_always() -> None:
    always = partial(lambda action, inputs, steps: torch.full_like(steps, action), 2)  # noqa: ARG005
    attack = partial(pgd, steps=10, loss="margin")
    wanted = measured(Trial(threat(1.6), attack, goal="target", wanted=always, seed=5))
    forced = measured(Trial(threat(1.6), partial(force, action=2), seed=5))
    assert (wanted.examples.values, wanted.examples.distances) == (forced.examples.values, forced.examples.distances)
    assert all(torch.equal(wanted.evidence[name], forced.evidence[name]) for name in forced.evidence)


def test_what_a_wish_may_not_be() -> None:
    trial = Trial(threat(1.6), fgsm, goal="target")
    with pytest.raises(NotApplicable, match="wants a given action"):
        measured(trial)
    for wish in (lambda inputs, steps: steps * 0 + 3, lambda inputs, steps: steps.float()):  # noqa: ARG005
        with pytest.raises(InvalidOption, match="expected 6 wanted actions, int64 from 0 to 2"):
            measured(replace(trial, wanted=wish))


def test_a_fit_learns_on_every_step_however_negative_the_return() -> None:
    seen: list[int] = []

    def learning(problems: Callable[[], Iterator[Problem]]) -> Attack:
        seen.extend(len(problem) for problem in problems())
        return universal(problems)

    found = measured(Trial(threat(1.6), None, fit=learning))
    assert sum(seen) == sum(abs(place) for place in WALK.seeds("validation"))
    assert all(value >= worst(place, 1.6)[0] for value, place in zip(found.examples.values, SEEDS, strict=True))
    assert found.metric() < measured(Trial(None, None)).metric()


def test_l0_budgets_move_a_number_within_its_range() -> None:
    def far_away(problem: Problem) -> None:
        d = problem.space.null()
        d[:, 0] = -100 * problem.inputs.values[:, 0].sign()
        problem.evaluate(problem.space.project(d))

    found = measured(Trial(threat(1, "l0"), far_away))
    assert set(found.examples.distances) == {1.0}
    assert set(found.evidence["observations"][:, :, 0].flatten().tolist()) == {-WALL, WALL}
    assert found.examples.values == tuple(
        -sum(min(WALL, abs(place) + step) for step in range(1, STEPS + 1)) for place in SEEDS
    )


def test_nothing_general_names_an_environment_and_one_file_makes_problems() -> None:
    general = [
        *(ROOT / "tasks" / "measuring").glob("*.py"),
        ROOT / "tasks/control/model.py",
        ROOT / "tasks/control/training.py",
    ]
    for path in general:
        assert "cartpole" not in path.read_text(encoding="utf-8").lower(), path
    for path in (ROOT / "tasks").rglob("*.py"):
        calls = (
            node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
        )
        made = any(isinstance(function, ast.Name) and function.id == "Problem" for function in calls)
        assert made == (path.name == "attacking.py"), path


def test_a_board_takes_the_lower_return_and_scores_it_between_its_anchors() -> None:
    clean, attacked = (
        sample_of(Result("0" * 64, cell(), "ok", metric=TASK.metric, examples=found.examples))
        for found in (measured(Trial(None, None), rest=-100), measured(Trial(threat(1.5), fgsm), rest=-100))
    )
    worst = worst_case(clean, [attacked, clean])
    assert worst.figure == attacked.figure < clean.figure < 0
    assert worst.quality == pytest.approx((worst.figure + 40) / 35)
    of_metric, of_quality = metric_interval(worst), quality_interval(worst)
    assert min(worst.values) <= of_metric.low < worst.figure < of_metric.high < 0
    assert 0 <= of_quality.low < worst.quality < of_quality.high <= 1
    assert difference([clean], [worst]).estimate > 0


def test_the_shipped_loop_learns_this_environment_too(tmp_path: Path) -> None:
    options = {"slots": 16, "steps": 24, "passes": 4, "discount": 0.9}
    recipe = Recipe("undefended", epochs=25, batch_size=128, weight_decay=0.0, learning_rate=3e-3, options=options)
    TASK.train(recipe, None, tmp_path, list[str]().append)
    card = read_card(tmp_path)
    assert card.data_hash == WALK.data_hash("train")
    assert card.clean["return"] >= sum(map(straight_home, SEEDS)) / len(SEEDS) - 0.5
    victim = TASK.load_victim(tmp_path, torch.device("cpu"))
    assert victim(Inputs(torch.zeros(5, 2))).values.shape == (5, 3)


def lengths(actions: Tensor, places: tuple[int, ...]) -> list[int]:
    """Steps until home, or until the end."""
    found = []
    for episode, place in enumerate(places):
        for step in range(STEPS):
            place = max(-WALL, min(WALL, place + int(actions[step, episode]) - 1))
            if place == 0:
                break
        found.append(step + 1)
    return found
