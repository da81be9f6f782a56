"""How CartPole's reference models are trained, and the budget that they are measured at.

The budget was chosen once, on the validation seeds, as one at which an undefended policy falls and a defended one
need not: at 0.2 the undefended one still returns 415 under fgsm, at 0.4 the adversarially trained one falls, too.
0.3 of the scale is 0.22 m, 0.32 m/s, 2.1 degrees and 7.5 degrees/s. Mean returns, validation / test:

    model                   clean       noise (sign)   fgsm        pgd, 20 steps
    undefended              500 / 500   500 / 500      160 / 163   160 / 163
    noise-augmentation      500 / 500   500 / 500      139 / 139   139 / 139
    adversarial-training    500 / 500   500 / 500      500 / 500   500 / 500

With four features and two actions one gradient step finds every flip that there is, so fgsm and pgd agree. The
adversarially trained policy is not masked: half of its actions are flipped, and from 0.4 on it falls (validation,
first 30 seeds: 300 at 0.4, 121 at 0.6, 10 at 1.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tasks.models.recipes import Recipe


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
