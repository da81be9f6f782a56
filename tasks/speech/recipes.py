"""How the speech reference models are trained, and the budget that they are measured at."""

from __future__ import annotations

from typing import Final

from tasks.recipes import Recipe


THREAT: Final = "waveform-snr:28@gradient"

# Of clean training data, for every model: the range of tempo, and of gain in decibels.
_VARIED: Final = {"tempo": (0.85, 1.15), "gain_db": (-6.0, 3.0)}

RECIPES: Final[dict[str, Recipe]] = {
    recipe.model: recipe
    for recipe in (
        Recipe("undefended", epochs=13, batch_size=32, learning_rate=2e-3, weight_decay=1e-2, options=_VARIED),
        Recipe(
            "noise-augmentation",
            defense="noise-augmentation",
            defense_params={"distribution": "mixed"},
            threat=THREAT,
            share=0.5,
            epochs=13,
            batch_size=32,
            learning_rate=2e-3,
            weight_decay=1e-2,
            options=_VARIED,
        ),
        Recipe(
            "adversarial-training",
            defense="adversarial-training",
            defense_params={"steps": 2, "relative_step": 0.6},
            threat=THREAT,
            share=0.75,
            epochs=26,
            batch_size=32,
            learning_rate=2e-3,
            weight_decay=1e-2,
            options=_VARIED | {"start_from": "undefended"},
        ),
    )
}
