"""A classification task made of a user's own tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

import torch
from torch import Tensor

from adversarial.entries import SurfaceEntry
from adversarial.errors import DataError, NotApplicable
from adversarial.goals import Flip, Goal
from adversarial.inputs import Inputs, Scores
from adversarial.registry import resolve
from adversarial.spaces import Space, observations
from adversarial.spaces.surfaces import SAMPLE_STEP
from adversarial.threats import BUILT_IN, Threat
from adversarial.victims import Victim
from leaderboard.records.metric import Metric
from tasks import FIT_SPLIT
from tasks.measuring.batches import Batch, Outcomes
from tasks.measuring.protocol import GoalName


PIXELS: Final = BUILT_IN["pixels"]


@dataclass(frozen=True, slots=True)
class ArrayTask:
    """Inputs and labels that are in memory.

    inputs: float32, see Inputs; pixels must lie in [0, 1], waveforms on the grid of 16-bit samples. labels: int64
    [examples]. targets: int64 [examples] or None. scale: float [dimensions], for threats on observations only.
    fit: inputs, labels and, with targets, their targets too, that attacks of the stage `fit` learn on. All on one
    device. surface: where they are attacked. Raises DataError for anything else.
    """

    inputs: Inputs
    labels: Tensor
    targets: Tensor | None = None
    scale: Tensor | None = None
    fit: tuple[Inputs, Tensor, Tensor | None] | None = None
    surface: SurfaceEntry = PIXELS

    @property
    def metric(self) -> Metric:
        return Metric("accuracy", floor=0.0, ceiling=1.0)

    def __post_init__(self) -> None:
        values, mask = self.inputs.values, self.inputs.mask
        if values.ndim < 2 or not values.numel():
            raise DataError(f"inputs must be [examples, ...] with at least one example, got {list(values.shape)}")
        if values.dtype != torch.float32:
            raise DataError(f"inputs must be float32, got {values.dtype}; scale them and call .float()")
        if not bool(torch.isfinite(values).all()):
            raise DataError("inputs hold NaN or infinite values")
        if mask is not None and (mask.dtype != torch.bool or mask.shape != values.shape[:2]):
            raise DataError(
                f"the mask must be bool of shape {list(values.shape[:2])}, True where a position is real, "
                f"got {mask.dtype} {list(mask.shape)}; .bool() makes one of 0 and 1"
            )
        self._check_classes("labels", self.labels)
        if self.targets is not None:
            self._check_classes("targets", self.targets)

    def _check_classes(self, name: str, classes: Tensor) -> None:
        if classes.dtype != torch.int64 or classes.ndim != 1:
            raise DataError(f"{name} must be int64 of shape [examples], got {classes.dtype} {list(classes.shape)}")
        if len(classes) != len(self.inputs):
            raise DataError(f"{len(self.inputs)} inputs but {len(classes)} {name}")
        if int(classes.min()) < 0:
            raise DataError(f"{name} must be at least 0, got {int(classes.min())}")

    def batches(self, split: str, limit: int | None, batch_size: int, device: torch.device) -> Iterator[Batch]:
        if split == FIT_SPLIT:
            if self.fit is None:
                raise DataError("this attack learns on examples of its own: give fit=(inputs, labels)")
            inputs, labels, wanted = self.fit
            if (wanted is None) != (self.targets is None):
                raise DataError("give fit=(inputs, labels, targets) where there are targets, and only there")
            learned = replace(self, inputs=inputs, labels=labels, targets=wanted, fit=None)
            yield from learned.batches("test", limit, batch_size, device)
            return
        count = len(self.labels) if limit is None else min(limit, len(self.labels))
        for start in range(0, count, batch_size):
            rows = torch.arange(start, min(start + batch_size, count), device=self.labels.device)
            targets = [-1] * len(rows) if self.targets is None else self.targets[rows].tolist()
            yield Batch(
                ids=tuple(str(row) for row in rows.tolist()),
                positions=tuple(rows.tolist()),
                inputs=self.inputs.take(rows).to(device),
                truth=tuple(zip(self.labels[rows].tolist(), targets, strict=True)),
            )

    def space(self, victim: Victim, batch: Batch, threat: Threat) -> Space:  # noqa: ARG002
        if threat.surface == "pixels":
            low, high = float(batch.inputs.values.min()), float(batch.inputs.values.max())
            if low < 0 or high > 1:
                raise DataError(
                    f"pixels must lie in [0, 1], found {low:.4g} to {high:.4g}; put the normalisation in the model"
                )
        if threat.surface == "waveform":
            steps = batch.inputs.values / SAMPLE_STEP
            if not torch.equal(steps, steps.round().clamp(-32768, 32767)):
                raise DataError(
                    "waveforms must be 16-bit samples over 32768; use (x * 32768).round().clamp(-32768, 32767) / 32768"
                )
        if threat.surface == "observations":
            if self.scale is None:
                raise DataError("a threat on observations needs scale=, one positive number a dimension")
            if self.scale.shape != batch.inputs.values.shape[1:]:
                raise DataError(
                    f"scale must be one positive number a dimension, {list(batch.inputs.values.shape[1:])}, "
                    f"got {list(self.scale.shape)}"
                )
            return observations(batch.inputs, threat, self.scale.to(batch.inputs.values.device))
        if not self.surface.code:
            raise NotApplicable(f"tensors alone cannot be attacked as {threat.surface}")
        space: Space = resolve(self.surface.code)(batch.inputs, threat)
        return space

    def goal(self, batch: Batch, goal: GoalName) -> Goal:  # noqa: ARG002
        truth = cast("tuple[tuple[int, int], ...]", batch.truth)
        labels = torch.tensor([label for label, _ in truth], device=batch.inputs.values.device)
        if self.targets is None:
            return Flip(labels)
        return Flip(labels, torch.tensor([target for _, target in truth], device=labels.device))

    def outcomes(self, scores: Scores, batch: Batch) -> Outcomes:
        decisions = torch.where(scores.finite(), scores.values.argmax(1), -1).tolist()
        truth = cast("tuple[tuple[int, int], ...]", batch.truth)
        right = tuple(float(decision == label) for decision, (label, _) in zip(decisions, truth, strict=True))
        return Outcomes(right, (1.0,) * len(right), {"decision": tuple(float(d) for d in decisions)})

    def distances(self, distance: Tensor, threat: Threat) -> Mapping[str, tuple[float, ...]]:  # noqa: ARG002
        return {}

    def evidence(self, inputs: list[Inputs]) -> dict[str, Tensor]:
        if self.inputs.mask is None:
            return {"inputs": torch.cat([row.values for row in inputs])}
        flat = torch.cat([row.values[0].flatten() for row in inputs])
        return {"inputs": flat, "lengths": torch.tensor([row.values.shape[1] for row in inputs])}
