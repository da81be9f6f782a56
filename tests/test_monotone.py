"""More steps never do less over many examples; more restarts and a larger budget never do less to any one.

On the bundled models. Restarts on victims with a known optimum are in test_search, budgets in test_budgets.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from adversarial.attacks.apgd import apgd
from adversarial.attacks.carlini_wagner import carlini_wagner
from adversarial.attacks.deepfool import deepfool
from adversarial.attacks.hotflip import hotflip
from adversarial.attacks.pgd import pgd
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.registry import resolve
from adversarial.threats import Threat
from benchmarks.catalog import catalog
from leaderboard.records.record import BUDGET_PREFIX, NEAREST
from tasks.measuring.protocol import Task, Trial


Attack = Callable[[Problem], None]
IMAGES = 80


def outcomes(task: str, model: str, threat: str, attack: Attack, limit: int, **trial: object) -> torch.Tensor:
    """The quality of each example under attack, or the distance of its nearest success; float64 [examples]."""
    entry = catalog().task(task)
    loaded: Task = resolve(entry.code)()
    victim = loaded.load_victim(Path(entry.folder) / model, torch.device("cpu"))
    asked = Trial(Threat.parse(threat), attack, limit=limit, batch_size=64, **trial)  # type: ignore[arg-type]
    measured = loaded.measure(victim, asked, Ledger())
    if not asked.minimum_norm:
        return torch.tensor(measured.examples.values, dtype=torch.float64)
    nearest = torch.tensor(measured.examples.columns[NEAREST], dtype=torch.float64)
    return torch.where(nearest < 0, torch.inf, nearest)


SETTINGS: dict[str, tuple[str, str, str, Callable[[int], Attack], tuple[int, ...], int]] = {
    "pgd": (
        "image-digits",
        "adversarial-training",
        "pixels-linf:0.15",
        lambda n: partial(pgd, steps=n),
        (1, 5, 40),
        IMAGES,
    ),
    "bim": (
        "image-digits",
        "undefended",
        "pixels-l2:0.8",
        lambda n: partial(pgd, steps=n, random_start=False),
        (1, 4, 20),
        IMAGES,
    ),
    "apgd": (
        "image-digits",
        "adversarial-training",
        "pixels-linf:0.15",
        lambda n: partial(apgd, steps=n),
        (2, 10, 50),
        IMAGES,
    ),
    "hotflip": ("sentiment-reviews", "undefended", "words-l0:3", lambda n: partial(hotflip, steps=n), (1, 6), 80),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_more_steps_do_no_less_in_aggregate(name: str) -> None:
    task, model, threat, attack, counts, limit = SETTINGS[name]
    found = [float(outcomes(task, model, threat, attack(count), limit).mean()) for count in counts]
    assert found == sorted(found, reverse=True), found
    assert found[0] > found[-1], "the setting tells nothing: one step did all that many did"


@pytest.mark.parametrize(
    "attack",
    [
        lambda n: partial(deepfool, steps=n),
        lambda n: partial(carlini_wagner, binary_steps=3, steps=5 * n, initial_const=1.0),
    ],
)
def test_more_steps_find_no_more_distant_answers(attack: Callable[[int], Attack]) -> None:
    found = [
        outcomes("image-digits", "undefended", "pixels-l2:inf", attack(count), IMAGES, minimum_norm=True)
        for count in (2, 30)
    ]
    assert bool((torch.isfinite(found[1]) | ~torch.isfinite(found[0])).all())
    reached = torch.isfinite(found[0])
    assert float(found[1][reached].mean()) <= float(found[0][reached].mean()) * 1.001
    assert float(torch.isfinite(found[1]).double().mean()) == 1


@pytest.mark.parametrize("attack", [partial(pgd, steps=5), partial(apgd, steps=5)], ids=["pgd", "apgd"])
def test_more_restarts_never_lose_an_example(attack: partial[None]) -> None:
    found = [
        outcomes("image-digits", "adversarial-training", "pixels-linf:0.15", partial(attack, restarts=count), IMAGES)
        for count in (1, 3, 10)
    ]
    assert bool((found[1] <= found[0]).all())
    assert bool((found[2] <= found[1]).all())


def test_a_larger_budget_never_loses_an_example() -> None:
    entry = catalog().task("image-digits")
    task: Task = resolve(entry.code)()
    victim = task.load_victim(Path(entry.folder) / "undefended", torch.device("cpu"))
    trial = Trial(
        Threat.parse("pixels-linf:0.15"), partial(pgd, steps=5), limit=IMAGES, batch_size=64, curve=(0.25, 0.5, 2.0)
    )
    measured = task.measure(victim, trial, Ledger())
    points = [measured.examples.columns[f"{BUDGET_PREFIX}{share}"] for share in ("0.25", "0.5")]
    points += [measured.examples.values, measured.examples.columns[f"{BUDGET_PREFIX}2"]]
    for smaller, larger in itertools.pairwise(points):
        assert all(after <= before for before, after in zip(smaller, larger, strict=True))
    assert sum(points[0]) > sum(points[-1])
