"""The only thing an attack sees: a batch under a threat, metered, with the best perturbation kept for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import torch
from torch import Tensor

from adversarial.best import Best, first_of_each
from adversarial.errors import AccessDenied, NotApplicable, QueryLimitReached
from adversarial.goals import Goal
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.spaces.protocol import ContinuousSpace, DiscreteSpace, Space
from adversarial.threats import Threat
from adversarial.victims import EmbeddingVictim, Victim


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the attacker learns of a batch of perturbations, a value a row.

    success: bool. loss: float32, scores: the victim's answer; both None where the threat shows decisions only.
    """

    success: Tensor
    loss: Tensor | None
    scores: Scores | None


@dataclass(frozen=True, slots=True)
class Gradient:
    """The gradient of the loss in d, shaped like d, zero where it was not finite; loss, success and scores at d."""

    values: Tensor
    loss: Tensor
    success: Tensor
    scores: Scores


@dataclass(frozen=True, slots=True)
class Context:
    """Where in an episode the batch is.

    memory: what an attack keeps from one step to the next, by name. episodes: int64 [batch], which episode a row is,
    the same number at every step: finished ones leave the batch, so rows move. At step 0 there is a row for each.
    """

    step: int
    memory: dict[str, Any]
    episodes: Tensor


class Problem:
    """A batch to attack.

    Every perturbation that is evaluated is a candidate: the problem keeps each row's best. An attack returns nothing.
    space, goal, threat, keys, context: see there. ledger: counts what is spent. early_stopping: whether a row that
    is done leaves alive(); off for measuring an attack's optimum.
    """

    def __init__(
        self,
        victim: Victim,
        space: Space,
        goal: Goal,
        threat: Threat,
        keys: Keys,
        *,
        ledger: Ledger | None = None,
        early_stopping: bool = True,
        context: Context | None = None,
    ) -> None:
        self._victim = victim
        # Radii of its own: the audit's are out of the attack's reach.
        self.space = space.with_budget(space.radius.clone())
        self.goal = goal
        self.threat = threat
        self.keys = keys
        self.ledger = Ledger() if ledger is None else ledger
        self.early_stopping = early_stopping
        self.context = context
        self._rows = torch.arange(len(space.inputs), device=space.inputs.values.device)
        self._repeated = False
        self._best = Best.start(space.null())

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def inputs(self) -> Inputs:
        """The undisturbed batch of this view."""
        return self.space.inputs

    @property
    def best(self) -> Best:
        """The best of the whole batch, whatever rows this view holds."""
        return self._best

    def evaluate(self, d: Tensor, loss: str = "ce") -> Outcome:
        """One forward without a gradient.

        Raises AccessDenied where the threat allows no queries, QueryLimitReached where a row has none left, and
        DeadlineReached.
        """
        if self.threat.access in ("none", "surrogate"):
            raise AccessDenied(f"{self.threat} allows no queries; use submit")
        self._spend()
        with torch.no_grad():
            scores = self._victim(self.space.apply(d))
            losses = self.goal.loss(scores, loss)
        success = self._judge(d, scores, losses)
        if self.threat.access == "labels":
            return Outcome(success, None, None)
        return Outcome(success, losses, scores)

    def gradient(self, d: Tensor, loss: str = "ce") -> Gradient:
        """One forward and one backward; success is noted on the way. Raises as evaluate does, and NotApplicable
        where the victim is not differentiable."""
        self._need_gradient()
        self._spend()
        variable = d.detach().requires_grad_(True)
        scores = self._victim(self.space.apply(variable))
        losses = self.goal.loss(scores, loss)
        values = self._backward(losses, variable)
        scores, losses = scores.detach(), losses.detach()
        success = self._judge(variable.detach(), scores, losses)
        return Gradient(self._checked(values), losses, success, scores)

    def gains(self, d: Tensor, loss: str = "ce") -> Tensor:
        """The first-order change of the loss for each single replacement, float32 [batch, positions, choices].

        -inf where a choice does not exist; the choice that d has now gains 0. One forward and one backward.
        Raises as gradient does.
        """
        self._need_gradient()
        space, victim = self.space, self._victim
        if not isinstance(space, DiscreteSpace) or not isinstance(victim, EmbeddingVictim):
            raise NotApplicable("gains of replacements need word candidates and a victim that embeds words")
        self._spend()
        chosen = space.apply(d)
        vectors = victim.embed(chosen.values).detach().requires_grad_(True)
        scores = victim(Inputs(vectors, chosen.mask))
        losses = self.goal.loss(scores, loss)
        values = self._backward(losses, vectors)
        self._judge(d, scores.detach(), losses.detach())
        values = self._checked(values)
        table, sizes = space.candidates(), space.sizes()
        with torch.no_grad():
            steps = victim.embed(table.clamp(min=0)) - vectors.detach()[:, :, None]
            gains = (steps * values[:, :, None]).sum(-1)
        exists = torch.arange(table.shape[2], device=d.device) < sizes[:, :, None]
        return torch.where(exists, gains, -torch.inf)

    def submit(self, d: Tensor) -> None:
        """Proposes a perturbation that the victim is not asked about; kept for the rows that are not done, or for all
        where nothing stops early. Of rows that repeat, the first counts."""
        best, rows, d = self._best, self._rows, d.detach()
        if self._repeated:
            chosen = first_of_each(rows)
            rows, d = rows[chosen], d[chosen]
        keep = (best.done[rows] & self.early_stopping).reshape(-1, *[1] * (d.ndim - 1))
        best.d = best.d.index_copy(0, rows, torch.where(keep, best.d[rows], d))

    def alive(self) -> Tensor:
        """bool [batch]: rows that can still get worse and may still ask."""
        alive = torch.ones_like(self._best.done[self._rows])
        if self.early_stopping:
            alive = ~self._best.done[self._rows]
        if self.threat.query_limit is not None:
            alive = alive & (self._best.asked[self._rows] < self.threat.query_limit)
        return alive

    def take(self, rows: Tensor) -> Problem:
        """A view of some rows, by index or by a mask; rows may repeat. What it finds counts for the whole batch."""
        rows = rows.nonzero().squeeze(1) if rows.dtype == torch.bool else rows
        view = Problem.__new__(Problem)
        view.__dict__.update(self.__dict__)
        view.space, view.goal, view.keys = self.space.take(rows), self.goal.take(rows), self.keys.take(rows)
        if self.context is not None:
            view.context = replace(self.context, episodes=self.context.episodes[rows])
        view._rows = self._rows[rows]
        view._repeated = len(torch.unique(view._rows)) < len(view._rows)
        return view

    def _need_gradient(self) -> None:
        if self.threat.access != "gradient":
            raise AccessDenied(f"{self.threat} allows no gradients; expected access 'gradient'")
        if not self._victim.differentiable:
            raise NotApplicable("the victim is not differentiable, so it cannot be attacked by gradients")

    def _spend(self) -> None:
        limit = self.threat.query_limit
        asked = self._best.asked.index_add(0, self._rows, torch.ones_like(self._rows))
        if limit is not None and bool((asked[self._rows] > limit).any()):
            raise QueryLimitReached(f"a row has used its {limit} queries; go on with the rows of alive()")
        self.ledger.forward(len(self._rows))
        self._best.asked = asked

    def _backward(self, losses: Tensor, variable: Tensor) -> Tensor:
        if not losses.requires_grad:
            raise NotApplicable("no gradient of the victim's scores reaches its input (is it detached, or no_grad?)")
        self.ledger.backward(len(losses))
        (values,) = torch.autograd.grad(losses.sum(), variable, allow_unused=True)
        return torch.zeros_like(variable) if values is None else values

    def _judge(self, d: Tensor, scores: Scores, losses: Tensor) -> Tensor:
        verdict = self.goal.judge(scores)
        losses = torch.where(torch.isnan(losses), -torch.inf, losses)
        self._best.offer(self._rows, d.detach(), verdict.success, verdict.damage, losses, verdict.done, self._repeated)
        return verdict.success

    def _checked(self, values: Tensor) -> Tensor:
        flat = values.flatten(1)
        broken = ~torch.isfinite(flat).all(1)
        self._best.note_gradients(self._rows, (flat == 0).all(1), broken)
        return torch.where(broken.reshape(-1, *[1] * (values.ndim - 1)), 0.0, values)


def is_continuous(space: Space) -> TypeGuard[ContinuousSpace]:
    """Whether d can be stepped along a gradient."""
    return hasattr(space, "steepest")


def continuous(space: Space) -> ContinuousSpace:
    """The space itself; raises NotApplicable where it is one of choices."""
    if not is_continuous(space):
        raise NotApplicable("this attack steps along a gradient; words are attacked by hotflip")
    return space


def bounded(space: Space) -> ContinuousSpace:
    """The space itself; raises NotApplicable where it has no steepest step or, in some row, no budget to share out."""
    found = continuous(space)
    if bool(torch.isinf(found.radius).any()):
        raise NotApplicable("this attack's steps are shares of the budget, so the budget must be finite")
    return found


def discrete(space: Space) -> DiscreteSpace:
    """The space itself; raises NotApplicable where it is continuous."""
    if not hasattr(space, "candidates"):
        raise NotApplicable("this attack replaces words by candidates; use fgsm or pgd here")
    return space  # type: ignore[return-value]
