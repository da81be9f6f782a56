"""How the speech reference models are trained, and the budget that they are measured at."""

from __future__ import annotations

from typing import Final

from tasks.recipes import Recipe


THREAT: Final = "waveform-snr:25@gradient"

# Of clean training data, for every model: the range of tempo, and of gain in decibels.
_VARIED: Final = {"tempo": (0.85, 1.15), "gain_db": (-6.0, 3.0)}

RECIPES: Final[dict[str, Recipe]] = {
    recipe.model: recipe
    for recipe in (
        Recipe("undefended", epochs=40, batch_size=32, learning_rate=2e-3, options=_VARIED),
        Recipe(
            "noise-augmentation",
            defense="noise-augmentation",
            defense_params={"distribution": "mixed"},
            threat=THREAT,
            share=0.5,
            epochs=40,
            batch_size=32,
            learning_rate=2e-3,
            options=_VARIED,
        ),
        Recipe(
            "adversarial-training",
            defense="adversarial-training",
            defense_params={"steps": 3, "relative_step": 0.5},
            threat=THREAT,
            epochs=20,
            batch_size=32,
            learning_rate=1e-3,
            options=_VARIED | {"start_from": "undefended"},
        ),
    )
}
