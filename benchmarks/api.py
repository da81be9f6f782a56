"""The suite's parts as plain functions, on a user's own model and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from adversarial.errors import NotApplicable
from adversarial.inputs import Inputs
from adversarial.ledger import Ledger
from adversarial.registry import resolve
from adversarial.threats import Threat
from adversarial.victims import ModuleVictim, Victim
from benchmarks.catalog import catalog
from leaderboard.statistics import Interval, wilson
from tasks.arrays import ArrayTask
from tasks.protocol import Measurement, Trial
from tasks.static import measure_static


QUEUE: Final = 8  # batches loaded together, so that waiting rows take the places of those that are done


@dataclass(frozen=True, slots=True)
class AttackResult:
    """What one attack did.

    inputs: the disturbed inputs, shaped as they came. success: bool [examples]. distances: float64 [examples], in the
    threat's unit. cost: passes, in rows. diagnostics: `name: detail` of each that fired.
    """

    inputs: Tensor
    success: Tensor
    distances: Tensor
    cost: Ledger
    diagnostics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model under several attacks of one threat.

    clean, robust: accuracies; robust counts an example only if it survives every attack. intervals: 95%, Wilson.
    attacks: the accuracy under each alone. diagnostics: by attack.
    """

    clean: float
    clean_interval: Interval
    robust: float
    robust_interval: Interval
    attacks: Mapping[str, float]
    diagnostics: Mapping[str, tuple[str, ...]]


def attack(
    model: nn.Module | Victim,
    inputs: Tensor,
    labels: Tensor,
    attack: str = "pgd",
    threat: str = "pixels-linf:0.031372549",
    *,
    targets: Tensor | None = None,
    mask: Tensor | None = None,
    scale: Tensor | None = None,
    fit: tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor] | None = None,
    surrogates: Sequence[nn.Module | Victim] = (),
    seed: int = 0,
    batch_size: int = 64,
    early_stopping: bool = True,
    half: bool = False,
    **params: Any,
) -> AttackResult:
    """Attacks a classifier: `attack(model, images, labels, "pgd", "pixels-linf:0.1", steps=40)`.

    model: a module from inputs to logits [batch, classes], or any Victim; set to evaluation mode, weights frozen.
    inputs: float [examples, ...]; labels: int64 [examples]. targets: wanted classes instead of any wrong one. mask:
    bool [examples, positions], True where a position is real. scale: of observations. fit: inputs and labels, and the
    wanted classes where there are `targets`, that a fitted attack (universal) learns on. surrogates: the models that
    transfer makes its examples on. batch_size: rows in one pass. half: search in bfloat16, confirm in float32. params:
    of the attack. An attack that looks for the nearest success may be given a budget of inf; with a finite one,
    successes beyond it do not count.
    Raises UnknownName, InvalidThreat, DataError, NotApplicable, and AuditFailure if the attack cheats.
    """
    found = Inputs(inputs.contiguous(), mask)
    learned = None if fit is None else (Inputs(fit[0]), fit[1], fit[2] if len(fit) == 3 else None)
    task = ArrayTask(found, labels, targets, scale, learned)
    trial, ledger = _trial(attack, threat, params, surrogates, seed, batch_size), Ledger()
    trial = replace(trial, early_stopping=early_stopping, half=half)
    measured = measure_static(task, _victim(model), trial, ledger)
    decisions = torch.tensor(measured.columns["decision"], dtype=torch.int64)
    # A decision of -1 is none: scores that are not finite are a diagnostic, and no success.
    wrong = decisions != labels.cpu() if targets is None else decisions == targets.cpu()
    success = wrong & (decisions >= 0)
    return AttackResult(
        inputs=_shaped(measured, inputs),
        success=success,
        distances=torch.tensor(measured.distances, dtype=torch.float64),
        cost=ledger,
        diagnostics=_texts(measured),
    )


def evaluate(
    model: nn.Module | Victim,
    inputs: Tensor,
    labels: Tensor,
    attacks: Sequence[str] = ("noise", "fgsm", "pgd"),
    threat: str = "pixels-linf:0.031372549",
    *,
    mask: Tensor | None = None,
    scale: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> Evaluation:
    """Measures a classifier clean and under attacks: `evaluate(model, images, labels, threat="pixels-linf:0.1")`.

    Arguments and errors as for attack. Robust accuracy is the worst case per example over the attacks and the clean
    pass.
    """
    victim = _victim(model)
    task = ArrayTask(Inputs(inputs, mask), labels, scale=scale)
    clean = measure_static(task, victim, Trial(None, None, batch_size=batch_size), Ledger())
    worst, each = torch.tensor(clean.values), {}
    diagnostics = {"none": _texts(clean)}
    for name in attacks:
        measured = measure_static(task, victim, _trial(name, threat, {}, (), seed, batch_size), Ledger())
        each[name] = measured.metric()
        diagnostics[name] = _texts(measured)
        worst = torch.minimum(worst, torch.tensor(measured.values))
    count = len(labels)
    return Evaluation(
        clean=clean.metric(),
        clean_interval=wilson(int(sum(clean.values)), count),
        robust=float(worst.mean()),
        robust_interval=wilson(int(worst.sum()), count),
        attacks=each,
        diagnostics={name: texts for name, texts in diagnostics.items() if texts},
    )


def _trial(
    attack: str,
    threat: str,
    params: Mapping[str, Any],
    surrogates: Sequence[nn.Module | Victim],
    seed: int,
    batch_size: int,
) -> Trial:
    entry, parsed = catalog().attack(attack), Threat.parse(threat)
    if entry.access in ("none", "surrogate"):
        parsed = parsed.with_access("none" if entry.access == "none" else "surrogate")
    if (reason := entry.reason_against(parsed.surface)) is not None:
        raise NotApplicable(f"{attack} on {parsed.surface}: {reason}")
    function = partial(resolve(entry.code), **{**entry.defaults, **params})
    return Trial(
        threat=parsed,
        attack=None if entry.stage == "fit" else function,
        fit=function if entry.stage == "fit" else None,
        seed=seed,
        batch_size=batch_size,
        queue=QUEUE,
        minimum_norm=entry.minimum_norm,
        surrogates=tuple(_victim(surrogate) for surrogate in surrogates),
    )


def _victim(model: nn.Module | Victim) -> Victim:
    return ModuleVictim(model) if isinstance(model, nn.Module) else model


def _shaped(measured: Measurement, inputs: Tensor) -> Tensor:
    if not measured.evidence:
        return inputs.detach().clone()
    found = measured.evidence["inputs"]
    if "lengths" not in measured.evidence:
        return found
    padded = inputs.detach().clone()
    width = inputs[0, 0].numel()
    parts = torch.split(found, [int(length) * width for length in measured.evidence["lengths"]])
    for row, part in enumerate(parts):
        padded[row, : len(part) // width] = part.reshape(-1, *inputs.shape[2:])
    return padded


def _texts(measured: Measurement) -> tuple[str, ...]:
    return tuple(f"{finding.name}: {finding.detail}" for finding in measured.findings)
