"""Asking a victim about stored adversarial examples: one forward each, and no attack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from adversarial.errors import DataError
from adversarial.inputs import Inputs, length_of
from adversarial.threats import Threat
from adversarial.victims import Victim, ask
from tasks.measuring.batches import StaticTask
from tasks.measuring.protocol import Rescored, Trial


class StoringTask(StaticTask, Protocol):
    """A task whose evidence can be read back."""

    def tensors(self, threat: Threat) -> tuple[str, ...]:
        """The names of the tensors that `evidence` writes for adversarial examples of a threat."""

    def stored(self, evidence: Mapping[str, Tensor]) -> list[Inputs]:
        """The inverse of `evidence`: each example as a batch of one without padding. Raises DataError for tensors that
        are not what `evidence` writes, NotApplicable where they do not say all."""


def rescore_static(task: StoringTask, victim: Victim, trial: Trial, evidence: Mapping[str, Tensor]) -> Rescored:
    """Raises DataError where the evidence is not of these examples."""
    if trial.threat is None:
        raise DataError("a clean pass has no adversarial examples")
    check_names(evidence, task.tensors(trial.threat))
    stored = task.stored(evidence)
    found: dict[int, tuple[str, float, float, float, bool]] = {}
    for batch in task.batches(trial.split, trial.limit, trial.batch_size, trial.device):
        if max(batch.positions) >= len(stored):
            raise DataError(f"the evidence holds {len(stored)} examples, and the data go on")
        space = task.space(victim, batch, trial.threat)
        rows = [stored[position].to(trial.device) for position in batch.positions]
        inputs, fitting = _like(space.inputs, rows)
        distance = space.distance(inputs)
        within = distance <= space.radius.to(torch.float64) + space.tolerance()
        within &= space.intact(inputs) & fitting.to(within.device)
        outcomes = task.outcomes(ask(victim, inputs), batch)
        for row, position in enumerate(batch.positions):
            judged = (batch.ids[row], outcomes.values[row], outcomes.weights[row])
            found[position] = (*judged, float(distance[row]), not bool(within[row]))
    if len(found) != len(stored):
        raise DataError(f"the evidence holds {len(stored)} examples, the data {len(found)}")
    ordered = [found[position] for position in sorted(found)]
    ids, values, weights, distances, over = zip(*ordered, strict=True) if ordered else ((),) * 5
    return Rescored(tuple(ids), tuple(values), tuple(weights), tuple(distances), tuple(over))


def cut(joined: Tensor, lengths: Tensor) -> list[Tensor]:
    """Rows that were joined end to end; raises DataError where the lengths do not add up."""
    sizes = lengths.tolist()
    if lengths.ndim != 1 or lengths.dtype != torch.int64 or any(size < 0 for size in sizes):
        raise DataError(f"lengths must be whole numbers of at least 0, got {lengths.dtype} {list(lengths.shape)}")
    if sum(sizes) != len(joined):
        raise DataError(f"lengths add up to {sum(sizes)}, and {len(joined)} are stored")
    return list(torch.split(joined, sizes))


def check_names(evidence: Mapping[str, Tensor], expected: Sequence[str]) -> None:
    """Raises DataError for tensors that are missing or that nobody asked for: what they would say is not looked at."""
    if set(evidence) != set(expected):
        found = ", ".join(sorted(evidence)) or "none"
        raise DataError(f"expected the tensors {', '.join(sorted(expected))}, the evidence has {found}")


def tensor_of(evidence: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> Tensor:
    """One tensor of the evidence; raises DataError where it is missing or of another type."""
    if name not in evidence:
        raise DataError(f"the evidence has no tensor {name!r}; it has {', '.join(sorted(evidence)) or 'none'}")
    if evidence[name].dtype != dtype:
        raise DataError(f"the evidence's {name} must be {dtype}, got {evidence[name].dtype}")
    return evidence[name]


def _like(clean: Inputs, rows: Sequence[Inputs]) -> tuple[Inputs, Tensor]:
    """Rows filled up as the clean batch is, and bool [batch], which of them have the clean row's length.

    A row of another length is put in as far as it fits, and then counts as over budget.
    """
    values, fitting = clean.values.clone(), torch.ones(len(rows), dtype=torch.bool)
    for i, row in enumerate(rows):
        own = row.values[0]
        length = values.shape[1] if clean.mask is None else length_of(clean.mask[i])
        if own.shape[0] != length or own.shape[1:] != values.shape[2:] or own.dtype != values.dtype:
            fitting[i] = False
            continue
        values[i, :length] = own
    return Inputs(values, clean.mask), fitting
