"""The one place that makes a Problem, attacks it and audits it: for still examples, episodes and training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adversarial.answers import Context
from adversarial.audit import audit
from adversarial.best import Best
from adversarial.diagnostics import Trace
from adversarial.errors import AuditFailure, QueryLimitReached
from adversarial.goals import Goal, RaiseLoss
from adversarial.inputs import Inputs
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.problem import Problem
from adversarial.spaces.protocol import Space
from adversarial.threats import Threat
from adversarial.victims import Victim, weight_versions
from tasks.measuring.protocol import Defense, Trial


@dataclass(frozen=True, slots=True)
class Case:
    """A batch to attack.

    victim, space, goal, keys, context, width: as a Problem has them. surrogates: other victims, each with the space of
    the same batch as it is attacked in.
    """

    victim: Victim
    space: Space
    goal: Goal
    keys: Keys
    surrogates: tuple[tuple[Victim, Space], ...] = ()
    context: Context | None = None
    width: int | None = None


@dataclass(frozen=True, slots=True)
class Attacked:
    """What a search left behind, and what the audit found it to be.

    best: of the search. inputs: the disturbed batch. distance: float64 [batch], in the units of the space's radius.
    """

    best: Best
    inputs: Inputs
    distance: Tensor


def attacked(case: Case, trial: Trial, ledger: Ledger, trace: Trace) -> Attacked:
    """Runs the trial's attack on a batch, without a bound where it looks for the nearest success, and audits it.

    Raises what the attack, the audit and the ledger raise. The end of a row's queries is the end of the attack, not a
    fault of it.
    """
    assert trial.threat is not None
    assert trial.attack is not None
    victim, space = case.victim, case.space
    if trial.minimum_norm:
        space = space.with_budget(torch.full_like(space.radius, torch.inf))
    before, weights = space.inputs.clone(), weight_versions(victim)
    problem = Problem(
        victim,
        space,
        case.goal,
        trial.threat,
        case.keys,
        ledger=ledger,
        early_stopping=trial.early_stopping,
        context=case.context,
        minimum_norm=trial.minimum_norm,
        width=case.width,
        surrogates=tuple(_on_surrogates(case, trial.threat, ledger)),
        half=trial.half,
    )
    with suppress(QueryLimitReached):
        trial.attack(problem)
    audited = audit(space, problem.best.d, before, weights, weight_versions(victim))
    trace.add_search(problem.best, audited.distance)
    return Attacked(problem.best, audited.inputs, audited.distance)


def fitted(cases: Callable[[], Iterable[Case]], trial: Trial, ledger: Ledger) -> Trial:
    """The trial with its attack as it is after its fit. cases: of the fit split, anew at each call."""
    threat, fit = trial.threat, trial.fit
    assert threat is not None
    assert fit is not None

    def problems() -> Iterator[Problem]:
        for case in cases():
            keys = case.keys.fold("fit")
            yield Problem(
                case.victim, case.space, case.goal, threat, keys, ledger=ledger, early_stopping=False, half=trial.half
            )

    return replace(trial, attack=fit(problems), fit=None)


def disturbed(case: Case, threat: Threat, defense: Defense, share: float) -> Tensor:
    """The perturbations that a train-stage defense shows to a model that learns, none on the rows that a keyed coin
    leaves out. share: of the rows that it picks."""
    d = defense(Problem(case.victim, case.space, RaiseLoss(case.goal), threat, case.keys, early_stopping=False))
    null = case.space.null()
    if not isinstance(d, Tensor) or d.shape != null.shape or d.dtype != null.dtype:
        found = f"{d.dtype} {list(d.shape)}" if isinstance(d, Tensor) else type(d).__name__
        raise AuditFailure(f"a defense returns perturbations, {null.dtype} {list(null.shape)}; got {found}")
    with torch.no_grad():
        within = (
            case.space.distance(case.space.apply(d)) <= case.space.radius.to(torch.float64) + case.space.tolerance()
        )
    if not bool(within.all()):
        raise AuditFailure(f"the defense goes beyond {threat} in {int((~within).sum())} of {len(within)} rows")
    if share >= 1:
        return d
    chosen = case.keys.fold("share").uniform((1,)) < share
    return torch.where(chosen.reshape(-1, *[1] * (d.ndim - 1)), d, case.space.null())


def _on_surrogates(case: Case, threat: Threat, ledger: Ledger) -> Iterator[Problem]:
    for surrogate, space in case.surrogates:
        yield Problem(
            surrogate,
            space,
            case.goal,
            threat.on_surrogates(),
            case.keys,
            ledger=ledger,
            early_stopping=False,
            context=None if case.context is None else replace(case.context, memory={}),
            own_model=True,
        )
