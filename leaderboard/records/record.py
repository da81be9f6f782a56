"""The record of one cell: its identity and its outcome.

A record holds only what a rerun reproduces byte for byte. When a cell ran, how long it took and how much
memory it needed is in the journal, which is a diary and not evidence.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import msgspec

from leaderboard.records.canonical import ResultError, canonical_json, decode
from leaderboard.records.metric import Metric


SCHEMA_VERSION = 1
OF_OTHERS = "of_others"  # option of a cell that somebody else measured against an entry
BUDGET_PREFIX = "budget_x"  # of columns with the values at another budget, a share of the threat's: budget_x0.5
NEAREST = "nearest"  # column of minimum-norm attacks: the distance of the nearest success, -1 where there is none
GROUP_PREFIX = "group_"  # of columns that name a group of examples by a number; their mean says nothing

Status = Literal["ok", "n/a", "failed", "timeout"]
Severity = Literal["suspect", "invalid"]
Scalar = str | int | float | bool | None


class Examples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Per-example outcomes, one row an example (of an environment: an initial seed), in the order of the data.

    values: numerator of the metric (correct 0/1, errors, return). weights: its denominator (1, units that may be
    wrong, 1). distances: the audited size of the perturbation in the threat's unit, 0 where nothing was changed.
    columns: further per-example numbers of the task (errors by their kind, length of an episode).
    """

    ids: tuple[str, ...]
    values: tuple[float, ...]
    weights: tuple[float, ...]
    distances: tuple[float, ...]
    columns: dict[str, tuple[float, ...]] = {}

    def __post_init__(self) -> None:
        lengths = {
            "ids": len(self.ids),
            "values": len(self.values),
            "weights": len(self.weights),
            "distances": len(self.distances),
            **{name: len(column) for name, column in self.columns.items()},
        }
        if len(set(lengths.values())) != 1:
            raise ResultError(f"columns of one length expected, found {lengths}")
        if len(set(self.ids)) != len(self.ids):
            raise ResultError("example ids are not distinct")
        for column in (self.values, self.weights, self.distances, *self.columns.values()):
            if not all(math.isfinite(number) for number in column):
                raise ResultError("the examples hold a number that is not finite")
        if any(weight < 0 for weight in self.weights) or sum(self.weights) <= 0:
            raise ResultError("weights must not be negative, and one of them must be above 0")


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the attack spent, in rows: a forward of a batch of 32 counts 32. Counts only; time is in the
    journal.
    """

    forwards: int = 0
    backwards: int = 0
    queries: int = 0
    environment_steps: int = 0


class Diagnostic(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A reason to distrust a cell; either severity takes the entry off the ranking."""

    name: str
    severity: Severity
    detail: str


class Cell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that may change a cell's numbers. Its canonical JSON is hashed into the cell's id.

    options: how the trial runs beyond the attack's own parameters, where it differs from the plain run: further
    budgets, batches loaded together, an unbounded search, what it is fitted on, which surrogates with which hash.
    """

    task: str
    data_hash: str
    split: str
    limit: int | None
    model: str
    model_hash: str
    defense: str
    attack: str
    params: dict[str, Scalar]
    threat: str
    goal: str
    seed: int
    dtype: str
    batch_size: int
    device: str
    threads: int
    plugins: dict[str, str]
    versions: dict[str, str]
    options: dict[str, Scalar] = {}

    @property
    def id(self) -> str:
        """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
        return hashlib.sha256(canonical_json(self)).hexdigest()

    @property
    def label(self) -> str:
        """One line for people: `TASK/undefended/pgd/SURFACE-linf:0.1@gradient`."""
        return f"{self.task}/{self.model}/{self.attack}/{self.threat}"


class Result(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cell's outcome. `reason` says why there is no number, and is empty where there is one."""

    id: str
    cell: Cell
    status: Status
    schema: int = SCHEMA_VERSION
    reason: str = ""
    metric: Metric | None = None
    examples: Examples | None = None
    cost: Cost = Cost()
    diagnostics: tuple[Diagnostic, ...] = ()
    artifacts: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.status == "ok" and (self.metric is None or self.examples is None):
            raise ResultError(f"cell {self.id[:12]} is ok but has no metric or no examples")
        if self.status != "ok" and not self.reason:
            raise ResultError(f"cell {self.id[:12]} is {self.status} but gives no reason")


def decode_result(data: bytes, expected_id: str | None = None) -> Result:
    """Reads a record strictly.

    Unknown or duplicate keys, missing fields, wrong types, another schema version, and an id that is not the
    hash of the cell all raise ResultError with the place and the reason.
    """
    result = decode(data, Result, "a valid record")
    if result.schema != SCHEMA_VERSION:
        raise ResultError(f"record has schema {result.schema}; this version reads schema {SCHEMA_VERSION}")
    if result.id != result.cell.id:
        raise ResultError(f"record says id {result.id[:12]} but its cell hashes to {result.cell.id[:12]}")
    if expected_id is not None and result.id != expected_id:
        raise ResultError(f"record of cell {result.id[:12]} found where {expected_id[:12]} was expected")
    return result
