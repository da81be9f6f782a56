"""Training: each task's recipe learns, a seed decides every byte, and defenses show a model what they say they do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from adversarial.errors import InvalidThreat, UnknownName
from adversarial.inputs import Inputs, Scores
from adversarial.registry import resolve
from adversarial.threats import BUILT_IN
from benchmarks.catalog import catalog
from tasks.control import training
from tasks.control.task import make
from tasks.measuring.arrays import ArrayTask
from tasks.measuring.attacking import disturbed
from tasks.measuring.batches import Batch
from tasks.measuring.training import defense_of, train_static
from tasks.models.cards import WEIGHTS_FILE, Card, read_card, recipe_to_json
from tasks.models.recipes import Recipe


TASKS = ("image-digits", "sentiment-reviews", "speech-digits", "control-cartpole")
_SLOTS = {"slots": 32, "steps": 64}


def task_of(name: str) -> Any:
    return resolve(catalog().task(name).code)()


def shortened(name: str, model: str = "undefended", **changes: Any) -> Recipe:
    """A recipe of a task with other settings; options are added to its own."""
    recipe: Recipe = task_of(name).recipes[model]
    options = {key: value for key, value in recipe.options.items() if key not in ("clean_epochs", "start_from")}
    return replace(recipe, **{**changes, "options": {**options, **changes.get("options", {})}})


def trained(name: str, recipe: Recipe, folder: Path) -> Card:
    task_of(name).train(recipe, defense_of(recipe, catalog()), folder, list[str]().append)
    return read_card(folder)


# Of each task: settings that take seconds, and the quality that they reach at least; a guess has 0.1, 0.5, 0 and 0.
LEARNS: dict[str, tuple[dict[str, Any], float]] = {
    "image-digits": ({"epochs": 5}, 0.8),
    "sentiment-reviews": ({"epochs": 2}, 0.6),
    "speech-digits": ({"epochs": 3, "batch_size": 16}, 0.5),
    "control-cartpole": ({"epochs": 8, "options": _SLOTS}, 0.4),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name[0] == "s" else []) for name in TASKS]
)
def test_a_shortened_recipe_learns(name: str, tmp_path: Path) -> None:
    changes, least = LEARNS[name]
    card = trained(name, shortened(name, **changes), tmp_path)
    metric = task_of(name).metric
    assert metric.quality(card.clean[metric.name]) >= least
    assert card.data_hash == resolve(catalog().task(name).data_hash)("train")


# Too short to learn anything; with draws of every kind: noise, shares, batches, weights.
TINY: dict[str, dict[str, Any]] = {
    "image-digits": {"epochs": 1, "share": 0.5},
    "sentiment-reviews": {"epochs": 1, "batch_size": 1024},
    "speech-digits": {"epochs": 1},
    "control-cartpole": {"epochs": 2, "share": 0.5, "options": {"slots": 8, "steps": 16, "passes": 2}},
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name[0] == "s" else []) for name in TASKS]
)
def test_a_seed_decides_every_byte_and_the_card_has_all_of_the_recipe(name: str, tmp_path: Path) -> None:
    recipe, state = shortened(name, "noise-augmentation", **TINY[name]), torch.get_rng_state()
    first = trained(name, recipe, tmp_path / "first")
    again = trained(name, Recipe(**first.recipe), tmp_path / "again")
    other = trained(name, replace(recipe, seed=recipe.seed + 1), tmp_path / "other")
    assert again == first
    assert (tmp_path / "again" / WEIGHTS_FILE).read_bytes() == (tmp_path / "first" / WEIGHTS_FILE).read_bytes()
    assert other.weights_sha256 != first.weights_sha256
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", TASKS)
def test_the_shipped_cards_hold_the_shipped_recipes(name: str) -> None:
    entry = catalog().task(name)
    for model in entry.models:
        card = read_card(Path(entry.folder) / model)
        assert recipe_to_json(Recipe(**card.recipe)) == card.recipe
        theirs = recipe_to_json(task_of(name).recipes[model])
        theirs["options"] = {
            key: list(value) if isinstance(value, tuple) else value for key, value in theirs["options"].items()
        }
        assert card.recipe == theirs


# A small setting with a known truth. Each example has a strong number, plus or minus 1, that tells its label but for
# one in twenty, and a fine one, plus or minus a quarter, that tells it always. Nobody within BUDGET turns the strong
# one; everybody turns the fine one. A linear model's robust accuracy is exact.
BUDGET = 0.5
WRONG = 0.05


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=draw)
    sign = 2.0 * labels - 1
    strong = sign * torch.where(torch.rand(count, generator=draw) < WRONG, -1.0, 1.0)
    fine = 0.25 * sign + 0.05 * torch.randn(count, generator=draw)
    return torch.stack([strong, fine], dim=1), labels


@dataclass
class Pairs:
    """A task of such examples, which notes the batch that it gave last."""

    values: Tensor
    labels: Tensor
    last: Batch | None = None

    def __getattr__(self, name: str) -> Any:
        arrays = ArrayTask(Inputs(self.values), self.labels, scale=torch.ones(2), surface=BUILT_IN["observations"])
        return getattr(arrays, name)

    def training_batches(self, recipe: Recipe, epoch: int) -> Iterator[Batch]:
        draw = torch.Generator().manual_seed(1000 * recipe.seed + epoch)
        for rows in torch.split(torch.randperm(len(self.labels), generator=draw), recipe.batch_size):
            truth = tuple((label, -1) for label in self.labels[rows].tolist())
            self.last = Batch(tuple(map(str, rows.tolist())), tuple(rows.tolist()), Inputs(self.values[rows]), truth)
            yield self.last


@dataclass
class Watched:
    """A linear model as a victim that learns. given: of each training step, what it was shown less what the data have;
    gaps: how much smaller its margins were there, and by how much they can shrink within BUDGET."""

    module: nn.Linear
    task: Pairs
    given: list[Tensor] = field(default_factory=list)
    gaps: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    differentiable = True

    def __call__(self, inputs: Inputs) -> Scores:
        if self.module.training:
            assert self.task.last is not None
            true = self.task.last.inputs.values
            self.given.append(inputs.values - true)
            weight, _, sign = direction(self.module, self.task.labels[list(self.task.last.positions)])
            shrunk = -sign * ((inputs.values - true) @ weight)
            self.gaps.append((shrunk, BUDGET * weight.abs().sum()))
        return Scores(self.module(inputs.values))


def direction(module: nn.Linear, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weight and bias of the margin of class 1, and the sign of each row's class."""
    with torch.no_grad():
        weight, bias = (module.weight[1] - module.weight[0]), module.bias[1] - module.bias[0]
    return weight, bias, 2.0 * labels - 1


def recipe_of(defense: str, seed: int = 0, **changes: Any) -> Recipe:
    plain = Recipe(
        defense or "undefended",
        defense=defense or "none",
        threat=f"observations-linf:{BUDGET}",
        epochs=40,
        learning_rate=0.05,
        weight_decay=0.0,
        seed=seed,
    )
    return replace(plain, **changes)


def fitted(recipe: Recipe) -> Watched:
    task = Pairs(*drawn(512, 1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        watched = Watched(nn.Linear(2, 2), task)
    defense = defense_of(recipe, catalog())
    train_static(task, watched.module, lambda _: watched, recipe, defense, list[str]().append)
    return watched


def accuracies(module: nn.Linear) -> tuple[float, float]:
    """Clean, and the exact one within BUDGET: the share of margins that outlast what the weights let it take."""
    values, labels = drawn(4000, 2)
    weight, bias, sign = direction(module, labels)
    margins = sign * (values @ weight + bias)
    return float((margins > 0).double().mean()), float((margins > BUDGET * weight.abs().sum()).double().mean())


NOISE = "noise-augmentation"


@pytest.mark.parametrize(
    ("defense", "params", "least"),
    [
        (NOISE, {"distribution": "sign"}, 0.9),
        (NOISE, {"distribution": "uniform"}, 0.6),  # half of its draws leave the fine number as it is
        (NOISE, {"distribution": "mixed"}, 0.9),
        ("adversarial-training", {}, 0.9),  # right but for one in twenty
    ],
    ids=["sign", "uniform", "mixed", "adversarial"],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_defended_model_is_more_robust_where_the_truth_is_known(
    defense: str, params: dict[str, Any], least: float, seed: int
) -> None:
    plain_clean, plain_robust = accuracies(fitted(recipe_of("", seed)).module)
    clean, robust = accuracies(fitted(recipe_of(defense, seed, defense_params=params)).module)
    assert plain_robust < 0.5  # it reads the fine number
    assert robust > least  # it trusts the strong one
    assert clean >= 1 - 1.5 * WRONG
    assert plain_clean >= 1 - 1.5 * WRONG


def test_without_a_defense_a_model_is_shown_the_data() -> None:
    assert not any(bool(d.any()) for d in fitted(recipe_of("", epochs=2)).given)


@pytest.mark.parametrize("distribution", ["sign", "uniform", "mixed"])
def test_noise_lies_in_the_ball_and_is_of_its_distribution(distribution: str) -> None:
    watched = fitted(recipe_of(NOISE, defense_params={"distribution": distribution}, epochs=6))
    d = torch.cat(watched.given).double()
    assert len(d) == 6 * 512
    assert float(d.abs().max()) <= BUDGET + 1e-6
    assert float(d.mean().abs()) < 0.03
    corner = ((d.abs() - BUDGET).abs() < 1e-6).all(1)
    assert float(corner.double().mean()) == pytest.approx(
        {"sign": 1.0, "uniform": 0.0, "mixed": 0.5}[distribution], abs=0.04
    )
    if distribution != "sign":
        inside = d[~corner]
        assert float(inside.var()) == pytest.approx(BUDGET**2 / 3, rel=0.08)
        # Of a uniform draw every tenth of the range holds a tenth.
        tenths = torch.histc(inside, 10, -BUDGET, BUDGET) / inside.numel()
        assert float((tenths - 0.1).abs().max()) < 0.02
    assert float((d[:, 0] * d[:, 1]).mean().abs()) < 0.02  # each number by itself
    assert not torch.equal(watched.given[0], watched.given[8])  # drawn anew in each epoch


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_a_share_of_rows_is_disturbed_and_the_rest_is_left_as_it_is(share: float) -> None:
    watched = fitted(recipe_of(NOISE, share=share, defense_params={"distribution": "sign"}, epochs=6))
    moved = torch.cat(watched.given).abs().amax(1) > 0
    assert float(moved.double().mean()) == pytest.approx(share, abs=0.04)
    again = fitted(recipe_of(NOISE, share=share, defense_params={"distribution": "sign"}, epochs=6))
    assert all(torch.equal(one, other) for one, other in zip(watched.given, again.given, strict=True))


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_adversarial_examples_raise_the_loss_to_its_maximum(share: float) -> None:
    """Of a linear model the worst point is a corner, and its margin shrinks by the budget times the weights' sum."""
    watched = fitted(recipe_of("adversarial-training", share=share, epochs=3))
    for d, (shrunk, most) in zip(watched.given, watched.gaps, strict=True):
        moved = d.abs().amax(1) > 0
        assert float(d.abs().max()) <= BUDGET + 1e-6
        assert shrunk[moved].tolist() == pytest.approx([float(most)] * int(moved.sum()), rel=1e-4)
    assert float(torch.cat([d.abs().amax(1) > 0 for d in watched.given]).double().mean()) == pytest.approx(
        share, abs=0.05
    )


def test_the_clean_loss_is_that_of_the_undisturbed_training_data() -> None:
    task = Pairs(*drawn(200, 3))
    watched = Watched(nn.Linear(2, 2), task)
    recipe = recipe_of(NOISE, epochs=2)
    defense = defense_of(recipe, catalog())
    found = train_static(task, watched.module, lambda _: watched, recipe, defense, list[str]().append)
    with torch.no_grad():
        expected = nn.functional.cross_entropy(watched.module(task.values), task.labels)
    assert found == pytest.approx(float(expected), rel=1e-5)
    assert not watched.module.training


def test_what_a_recipe_may_not_say() -> None:
    with pytest.raises(UnknownName, match="did you mean 'noise-augmentation'"):
        fitted(recipe_of("noise-augmentatio"))
    with pytest.raises(InvalidThreat):
        fitted(recipe_of(NOISE, threat=""))


@pytest.mark.parametrize("model", ["noise-augmentation", "adversarial-training"])
def test_policies_act_on_what_the_defense_shows_them(
    model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The budget grows from nothing over the warm-up; adversarial examples make the policy doubt its own actions."""
    shown: list[tuple[float, Tensor]] = []
    gains: list[float] = []
    scale = torch.tensor(make().environment.scale)

    def watch(case: Any, threat: Any, defense: Any, share: float) -> Tensor:
        d = disturbed(case, threat, defense, share)
        shown.append((threat.radius, d))
        with torch.no_grad():
            losses = [case.goal.loss(case.victim(case.space.apply(at)), "ce") for at in (case.space.null(), d)]
        gains.append(float((losses[1] - losses[0]).mean()))
        return d

    monkeypatch.setattr(training, "disturbed", watch)
    options = {"slots": 32, "steps": 8, "passes": 1, "warm_up": 0.5}
    trained("control-cartpole", shortened("control-cartpole", model, epochs=4, share=0.5, options=options), tmp_path)
    radii = [radius for radius, _ in shown[::8]]
    assert radii == pytest.approx([0.15, 0.3, 0.3, 0.3])
    for radius, d in shown:
        assert float((d / scale).abs().max()) <= radius + 1e-6
    moved = torch.cat([d.abs().amax(1) > 0 for _, d in shown])
    assert float(moved.double().mean()) == pytest.approx(0.5, abs=0.06)
    if model == "adversarial-training":
        assert min(gains) > 0
    else:
        assert min(gains) < 0 < max(gains)
