"""How CartPole's reference models are trained, and the budget that they are measured at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tasks.recipes import Recipe


THREAT: Final = "observations-linf:0.3@gradient"

# One loop for all three: they differ by their defense, and adversarial training sees a third more rollouts.
OPTIONS: Final[Mapping[str, Any]] = {
    "slots": 64,
    "steps": 64,
    "passes": 8,
    "entropy": 0.0,
    "discount": 0.98,
    "trace": 0.8,
    "clip": 0.2,
    "warm_up": 0.5,
}

RECIPES: Final[dict[str, Recipe]] = {
    recipe.model: recipe
    for recipe in (
        Recipe("undefended", epochs=60, batch_size=512, weight_decay=0.0, options=OPTIONS),
        Recipe(
            "noise-augmentation",
            defense="noise-augmentation",
            defense_params={"distribution": "mixed"},
            threat=THREAT,
            epochs=60,
            batch_size=512,
            weight_decay=0.0,
            options=OPTIONS,
        ),
        Recipe(
            "adversarial-training",
            defense="adversarial-training",
            defense_params={"steps": 2, "relative_step": 1.0},
            threat=THREAT,
            epochs=80,
            batch_size=512,
            weight_decay=0.0,
            options=OPTIONS,
        ),
    )
}
