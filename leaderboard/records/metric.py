"""A task's metric: how per-example numbers become one figure, and that a quality."""

from __future__ import annotations

import math

import msgspec

from leaderboard.records.canonical import ResultError


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How per-example numbers become one figure, and that figure a quality in [0, 1].

    The metric is sum(values) / sum(weights); its quality is (metric - floor) / (ceiling - floor), clipped. A
    metric where lower is better simply has its floor above its ceiling (an error rate: floor 1, ceiling 0).
    """

    name: str
    floor: float
    ceiling: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.floor) and math.isfinite(self.ceiling)) or self.floor == self.ceiling:
            raise ResultError(
                f"metric {self.name} runs from {self.floor} to {self.ceiling}; expected two different finite numbers"
            )

    @property
    def higher_is_better(self) -> bool:
        return self.ceiling > self.floor

    def quality(self, metric: float) -> float:
        """Maps a metric to [0, 1]; raises ResultError for a metric that is not finite."""
        if not math.isfinite(metric):
            raise ResultError(f"metric {self.name} is {metric}; expected a finite number")
        return min(1.0, max(0.0, (metric - self.floor) / (self.ceiling - self.floor)))

    def worse(self, value: float, than: float) -> bool:
        """Whether an example's value is worse for the victim than another of the same weight."""
        return value < than if self.higher_is_better else value > than
