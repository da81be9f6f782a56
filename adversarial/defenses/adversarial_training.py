"""Adversarial training, Madry et al. 2017, https://arxiv.org/abs/1706.06083."""

from __future__ import annotations

from torch import Tensor

from adversarial.attacks.hotflip import hotflip
from adversarial.attacks.pgd import pgd
from adversarial.entries import DefenseEntry
from adversarial.problem import Problem
from adversarial.spaces.kinds import is_continuous


ENTRIES = (
    DefenseEntry(
        name="adversarial-training",
        code="adversarial.defenses.adversarial_training:adversarial_training",
        summary="adversarial examples are made anew at every training step",
        paper="https://arxiv.org/abs/1706.06083",
    ),
)


def adversarial_training(
    problem: Problem, *, steps: int = 5, relative_step: float = 0.4, random_start: bool = True
) -> Tensor:
    """A perturbation for a training batch: the one that raises the loss most, found by a short attack.

    In a continuous space the attack is pgd, among word candidates hotflip. Returns d. The problem must not stop
    early: training wants the worst point, not the first wrong answer.
    """
    if is_continuous(problem.space):
        pgd(problem, steps=steps, relative_step=relative_step, random_start=random_start)
    else:
        hotflip(problem, steps=steps)
    return problem.best.d
