"""How the reviews' reference models are trained, and the budgets that they are measured at."""

from __future__ import annotations

from typing import Final

from tasks.recipes import Recipe


THREAT: Final = "words-l0:3@gradient"
UNREALISABLE: Final = "embeddings-l2:1@gradient"

RECIPES: Final[dict[str, Recipe]] = {
    recipe.model: recipe
    for recipe in (
        Recipe("undefended", epochs=12),
        Recipe("noise-augmentation", defense="noise-augmentation", threat=THREAT, share=0.5, epochs=12),
        Recipe(
            "adversarial-training",
            defense="adversarial-training",
            defense_params={"steps": 3},
            threat=THREAT,
            epochs=12,
        ),
    )
}
