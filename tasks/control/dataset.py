"""What is fixed about the task: environment, observation scale, episode seeds, anchors of the metric. Imports no torch.

An example is an initial seed: the state that `gymnasium.make(ENVIRONMENT).reset(seed=...)` draws.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from typing import Final

from adversarial.errors import UnknownName


ENVIRONMENT: Final = "CartPole-v1"
MAX_STEPS: Final = 500
ACTIONS: Final = 2

# One unit of an observation budget: the standard deviations of cart position (m), cart velocity (m/s), pole angle
# (rad) and angular velocity (rad/s) over visited states, as published with SA-DQN (https://arxiv.org/abs/2003.08938).
# They belong to the environment: a scale of the agent's own would give each agent another attacker.
SCALE: Final = (0.7322, 1.0629, 0.1224, 0.4385)

SEEDS: Final[dict[str, tuple[int, ...]]] = {
    "test": tuple(range(1000, 1100)),
    "validation": tuple(range(2000, 2050)),
    "train": (),  # training draws its own initial states
}

RANDOM_RETURN: Final = 22.48  # of keyed coin flips over the test seeds
REFERENCE_RETURN: Final = 500.0  # of a policy that never falls


def episode_ids(split: str) -> tuple[str, ...]:
    """The examples of a split: `episode-1003`; raises UnknownName."""
    return tuple(episode_id(seed) for seed in seeds(split))


def episode_id(seed: int) -> str:
    return f"episode-{seed}"


def seeds(split: str) -> tuple[int, ...]:
    """The initial seeds of a split; raises UnknownName."""
    if split not in SEEDS:
        raise UnknownName.among("split", split, SEEDS)
    return SEEDS[split]


def data_hash(split: str) -> str:
    """SHA-256 of all that decides a split's episodes and how they are scored, Gymnasium's version included."""
    facts = {
        "environment": ENVIRONMENT,
        "gymnasium": importlib.metadata.version("gymnasium"),
        "max_steps": MAX_STEPS,
        "metric": {"floor": RANDOM_RETURN, "ceiling": REFERENCE_RETURN},
        "scale": list(SCALE),
        "seeds": list(seeds(split)),
        "split": split,
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
