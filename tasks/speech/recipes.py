"""How the speech reference models are trained, and the budget that they are measured at.

The budget was chosen once, on the validation split (see docs/design/004-budgets.md). Word error rates at 28 dB, with
the goal `worst`:

    model                  split        clean   noise (sign)   fgsm    pgd, 20 steps
    undefended             validation   0.018   0.020          0.491   0.766
    noise-augmentation     validation   0.023   0.018          0.402   0.695
    adversarial-training   validation   0.007   0.007          0.059   0.330
    undefended             test         0.031   0.040          0.479   0.744
    noise-augmentation     test         0.034   0.029          0.391   0.683
    adversarial-training   test         0.021   0.013          0.099   0.369

Two models train for 13 epochs only: longer training lets the loss of right words vanish, and with it the gradients
that an attack follows, so that a model looks a little harder to attack than it is.
"""

from __future__ import annotations

from typing import Final

from tasks.models.recipes import Recipe


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
