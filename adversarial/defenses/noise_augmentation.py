"""Noise augmentation, the baseline of Goodfellow et al. 2014, https://arxiv.org/abs/1412.6572, section 5."""

from __future__ import annotations

from torch import Tensor

from adversarial.entries import DefenseEntry
from adversarial.problem import Problem


ENTRIES = (
    DefenseEntry(
        name="noise-augmentation",
        code="adversarial.defenses.noise_augmentation:noise_augmentation",
        summary="random noise of the budget's size is added to half of the training data",
        paper="https://arxiv.org/abs/1412.6572",
    ),
)


def noise_augmentation(problem: Problem, *, distribution: str = "sign") -> Tensor:
    """A perturbation for a training batch: random noise of the budget's size.

    distribution: `sign` is the classic recipe (every feature moved by the whole budget), `uniform` the gentler one,
    `mixed` gives half of the rows each. Returns d, shaped as the problem's space has it.
    """
    keys = problem.keys.fold("noise-augmentation")
    if distribution != "mixed":
        return problem.space.sample(keys, distribution)
    sign, uniform = problem.space.sample(keys, "sign"), problem.space.sample(keys, "uniform")
    coin = keys.fold("mix").sign((1,)).reshape(-1, *[1] * (sign.ndim - 1)) > 0
    return sign.where(coin, uniform)
