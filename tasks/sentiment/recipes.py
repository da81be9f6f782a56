"""How the reviews' reference models are trained, and the budgets that they are measured at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tasks.recipes import Recipe


THREAT: Final = "words-l0:3@gradient"
UNREALISABLE: Final = "embeddings-l2:1@gradient"

_LOOP: Final[Mapping[str, Any]] = {"batch_size": 128, "learning_rate": 8e-3, "weight_decay": 1e-2}

RECIPES: Final[dict[str, Recipe]] = {
    recipe.model: recipe
    for recipe in (
        Recipe("undefended", epochs=12, **_LOOP),
        Recipe("noise-augmentation", defense="noise-augmentation", threat=THREAT, share=0.5, epochs=12, **_LOOP),
        Recipe(
            "adversarial-training",
            defense="adversarial-training",
            defense_params={"steps": 2},
            threat=THREAT,
            share=0.5,
            epochs=12,
            # Replacements chosen against weights that know no word yet teach nothing.
            options={"clean_epochs": 6},
            **_LOOP,
        ),
    )
}
