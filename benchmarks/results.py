"""What the Python API answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from adversarial.ledger import Ledger
from leaderboard.scoring.statistics import Interval


@dataclass(frozen=True, slots=True)
class AttackResult:
    """What one attack did; tensors lie where the inputs do.

    inputs: the disturbed inputs, float32, shaped as they came. success: bool [examples]. distances: float64 [examples],
    in the threat's unit: that of the inputs, a count under l0, multiples of the scale for observations; under snr the
    signal-to-noise ratio in decibels, inf where nothing was changed. cost: passes, in rows. diagnostics: `name: detail`
    of each that fired.
    """

    inputs: Tensor
    success: Tensor
    distances: Tensor
    cost: Ledger
    diagnostics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model under several attacks of one threat.

    clean, robust: accuracies in [0, 1]; robust counts an example only if it survives every attack. intervals: 95%,
    Wilson. attacks: the accuracy of all examples under each alone. diagnostics: by attack, `none` for the clean pass.
    complete: whether a search on the model itself was among them; where only noise, transferred or fitted perturbations
    were, robust is no more than an upper bound. left_out: why attacks of the default set did not run, by name.
    """

    clean: float
    clean_interval: Interval
    robust: float
    robust_interval: Interval
    attacks: Mapping[str, float]
    diagnostics: Mapping[str, tuple[str, ...]]
    complete: bool
    left_out: Mapping[str, str] = field(default_factory=dict)
