"""Defenses, one a file. This file is their registry entries."""

from __future__ import annotations

from adversarial.registry import DefenseEntry
from adversarial.threats import CONTINUOUS_SURFACES, WORD_SURFACES


_EVERYWHERE = frozenset((*CONTINUOUS_SURFACES, *WORD_SURFACES))

ENTRIES: tuple[DefenseEntry, ...] = (
    DefenseEntry(
        name="noise-augmentation",
        code="adversarial.defenses.noise_augmentation:noise_augmentation",
        summary="random noise of the budget's size is added to half of the training data",
        paper="https://arxiv.org/abs/1412.6572",
        stage="train",
        surfaces=_EVERYWHERE,
        defaults={"distribution": "sign"},
    ),
    DefenseEntry(
        name="adversarial-training",
        code="adversarial.defenses.adversarial_training:adversarial_training",
        summary="adversarial examples are made anew at every training step",
        paper="https://arxiv.org/abs/1706.06083",
        stage="train",
        surfaces=_EVERYWHERE,
        defaults={"steps": 5, "relative_step": 0.4, "random_start": True},
    ),
)
