"""How the digits' reference models are trained, and the budget that they are measured at.

The budget was chosen once, on the validation split: see docs/design/004-budgets.md.
"""

from __future__ import annotations

from typing import Final

from tasks.models.recipes import Recipe


THREAT: Final = "pixels-linf:0.15@gradient"

RECIPES: Final[dict[str, Recipe]] = {
    recipe.model: recipe
    for recipe in (
        Recipe("undefended", epochs=30),
        Recipe(
            "noise-augmentation",
            defense="noise-augmentation",
            defense_params={"distribution": "mixed"},
            threat=THREAT,
            share=0.5,
            epochs=30,
        ),
        Recipe(
            "adversarial-training",
            defense="adversarial-training",
            defense_params={"steps": 7, "relative_step": 0.3},
            threat=THREAT,
            epochs=60,
        ),
    )
}
