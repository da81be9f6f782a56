"""Gymnasium's CartPole-v1: the environment, how its reference models are trained, and the budget that they are measured
at. Nothing else of this folder knows it. Imports no torch.

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

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from tasks.measuring.environments import Environment, Observations
from tasks.models.recipes import Recipe


NAME: Final = "CartPole-v1"


def make_vector(slots: int) -> Any:
    """Gymnasium's own vectorised CartPole."""
    import gymnasium  # half a second that planning and listing need not spend

    return gymnasium.make_vec(NAME, num_envs=slots, vectorization_mode="vector_entry_point").unwrapped


def start(vector: Any, seeds: Sequence[int]) -> Observations:
    """Each slot at the state that a single environment draws on reset with its seed.

    The vector would draw all of them from one seed, so they are written into it; its dynamics are elementwise, and each
    episode is that of `gymnasium.make`, byte for byte.
    """
    import gymnasium

    alone: Any = gymnasium.make(NAME).unwrapped
    states = np.empty((len(seeds), 4), dtype=np.float64)
    for row, seed in enumerate(seeds):
        alone.reset(seed=seed)
        states[row] = alone.state
    vector.reset(seed=0)  # for the episodes that nobody looks at
    vector.state = states.T.copy()
    return states.astype(np.float32)


CARTPOLE: Final = Environment(
    name=NAME,
    numbers=("cart position (m)", "cart velocity (m/s)", "pole angle (rad)", "angular velocity (rad/s)"),
    # The standard deviations of visited states, as published with SA-DQN (https://arxiv.org/abs/2003.08938). They
    # belong to the environment: a scale of the agent's own would give each agent another attacker.
    scale=(0.7322, 1.0629, 0.1224, 0.4385),
    actions=2,
    max_steps=500,
    splits={
        "test": tuple(range(1000, 1100)),
        "validation": tuple(range(2000, 2050)),
        "train": (),  # training draws its own initial states
    },
    random_return=22.48,  # of keyed coin flips over the test seeds
    reference_return=500.0,  # of a policy that never falls
    make_vector=make_vector,
    start=start,
    libraries=("gymnasium",),
)

data_hash = CARTPOLE.data_hash  # as the task's registry entry names it

THREAT: Final = "observations-linf:0.3@gradient"

# One loop for all three: they differ by their defense, and adversarial training sees a third more rollouts.
_OPTIONS: Final[Mapping[str, Any]] = {
    "slots": 64,
    "steps": 64,
    "passes": 8,
    "entropy": 0.0,
    "discount": 0.98,
    "trace": 0.8,
    "clip": 0.2,
    "warm_up": 0.5,
}

RECIPES: Final[Mapping[str, Recipe]] = {
    recipe.model: recipe
    for recipe in (
        Recipe("undefended", epochs=60, batch_size=512, weight_decay=0.0, options=_OPTIONS),
        Recipe(
            "noise-augmentation",
            defense="noise-augmentation",
            defense_params={"distribution": "mixed"},
            threat=THREAT,
            epochs=60,
            batch_size=512,
            weight_decay=0.0,
            options=_OPTIONS,
        ),
        Recipe(
            "adversarial-training",
            defense="adversarial-training",
            defense_params={"steps": 2, "relative_step": 1.0},
            threat=THREAT,
            epochs=80,
            batch_size=512,
            weight_decay=0.0,
            options=_OPTIONS,
        ),
    )
}
