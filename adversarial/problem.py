"""The only thing an attack sees: a batch under a threat, metered, with the best perturbation kept for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from adversarial.answers import Context, Gradient, Jacobian, Outcome
from adversarial.best import Best, first_of_each
from adversarial.confirming import confirmed
from adversarial.derivatives import changes_of_choices, gradients_of_columns
from adversarial.errors import AccessDenied, NotApplicable, QueryLimitReached
from adversarial.goals import Goal
from adversarial.inputs import Inputs, Scores
from adversarial.keys import Keys
from adversarial.ledger import Ledger
from adversarial.spaces.kinds import discrete, is_continuous
from adversarial.spaces.protocol import DiscreteSpace, Space
from adversarial.threats import Threat
from adversarial.victims import EmbeddingVictim, Victim


class Problem:
    """A batch to attack.

    Every perturbation that is evaluated is a candidate: the problem keeps each row's best. An attack returns nothing.
    space, goal, threat, keys, context: see there. ledger: counts what is spent. early_stopping: whether a row that
    is done leaves alive(); off for measuring an attack's optimum. minimum_norm: whether the best is the nearest
    success, and a row goes on after its first. width: how many rows fit into one pass, all where None.
    surrogates: the same rows as problems of other victims, for attacks without access to this one. half: whether
    passes run in bfloat16; every success is then confirmed by a pass in float32. own_model: whether the victim is the
    attacker's own, so that its answers are no queries.
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
        minimum_norm: bool = False,
        width: int | None = None,
        surrogates: tuple[Problem, ...] = (),
        half: bool = False,
        own_model: bool = False,
    ) -> None:
        self._victim = victim
        # Radii of its own: the audit's are out of the attack's reach.
        self.space = space.with_budget(space.radius.clone())
        self.goal = goal
        self.threat = threat
        self.keys = keys
        self.ledger = Ledger() if ledger is None else ledger
        self.early_stopping = early_stopping and not minimum_norm
        self.minimum_norm = minimum_norm
        self.context = context
        self.width = len(space.inputs) if width is None else width
        self._surrogates = surrogates
        self._half = half
        self._own_model = own_model
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

    @property
    def rows(self) -> Tensor:
        """int64 [batch]: which rows of the whole batch this view holds."""
        return self._rows

    @property
    def found(self) -> Tensor:
        """bool [batch]: rows of this view with a success so far."""
        return self._best.success[self._rows]

    @property
    def surrogates(self) -> tuple[Problem, ...]:
        """The same rows as problems of other victims; raises NotApplicable where there are none."""
        if not self._surrogates:
            raise NotApplicable("transfer needs another model of the task to make its examples on")
        return self._surrogates

    def evaluate(self, d: Tensor, loss: str | None = "ce", towards: Tensor | None = None) -> Outcome:
        """One forward without a gradient. loss, towards: as a Goal has them; without a loss only what succeeds is kept,
        for it would be compared with losses of another kind.

        Raises AccessDenied where the threat allows no queries, QueryLimitReached where a row has none left, and
        DeadlineReached.
        """
        if self.threat.access in ("none", "surrogate"):
            raise AccessDenied(f"{self.threat} allows no queries; use submit")
        self._spend(len(self._rows))
        with torch.no_grad():
            scores = self._answer(self.space.apply(d))
            losses = None if loss is None else self.goal.loss(scores, loss, towards)
        success = self._judge(d, scores, losses, loss, towards)
        if self.threat.access == "labels":
            return Outcome(success, None, None)
        return Outcome(success, losses, scores)

    def gradient(self, d: Tensor, loss: str = "ce", towards: Tensor | None = None) -> Gradient:
        """One forward and one backward; success is noted on the way. Raises as evaluate does, and NotApplicable
        where the victim is not differentiable."""
        self._need_gradient()
        self._spend(len(self._rows))
        variable = d.detach().requires_grad_(True)
        scores = self._answer(self.space.apply(variable))
        losses = self.goal.loss(scores, loss, towards)
        values = self._backwards(losses[:, None], variable)[0]
        scores, losses = scores.detach(), losses.detach()
        success = self._judge(variable.detach(), scores, losses, loss, towards)
        return Gradient(self._checked(values), losses, success, scores)

    def jacobian(self, d: Tensor, outputs: Callable[[Tensor], Tensor]) -> Jacobian:
        """One forward and a backward for each of several functions of the scores.

        outputs: from scores [batch, classes] to [batch, functions], each row by itself. Raises as gradient does, and
        NotApplicable where the victim decides no classes.
        """
        self._need_gradient()
        self._spend(len(self._rows))
        if is_continuous(self.space):
            variable = d.detach().requires_grad_(True)
            inputs = self.space.apply(variable)
        else:
            variable, inputs = self._embedded(d)
        scores = self._answer(inputs)
        if scores.values.ndim != 2:
            raise NotApplicable(f"no class decision here: the victim answers {list(scores.values.shape[1:])} a row")
        found = outputs(scores.values)
        values = torch.stack([self._checked(v) for v in self._backwards(found, variable)])
        scores = scores.detach()
        success = self._judge(d, scores, self.goal.loss(scores, "margin"), "margin")
        if not is_continuous(self.space):
            values = torch.stack([self._changes(variable.detach(), value) for value in values])
        return Jacobian(values, found.detach(), success, scores)

    def gains(self, d: Tensor, loss: str = "ce") -> Tensor:
        """The first-order change of the loss for each single replacement, float32 [batch, positions, choices].

        -inf where a choice does not exist; the choice that d has now gains 0. One forward and one backward.
        Raises as gradient does.
        """
        return self.choices(d, loss).values

    def choices(self, d: Tensor, loss: str = "ce") -> Gradient:
        """The gains as `values`, with the loss, success and scores that the same pass found at d."""
        self._need_gradient()
        vectors, inputs = self._embedded(d)
        self._spend(len(self._rows))
        scores = self._answer(inputs)
        losses = self.goal.loss(scores, loss)
        values = self._backwards(losses[:, None], vectors)[0]
        scores, losses = scores.detach(), losses.detach()
        success = self._judge(d, scores, losses, loss)
        return Gradient(self._changes(vectors.detach(), self._checked(values)), losses, success, scores)

    def submit(self, d: Tensor) -> None:
        """Proposes a perturbation that the victim is not asked about; kept for the rows that are not done, or for all
        where nothing stops early. Of rows that repeat, the first counts."""
        best, rows, d = self._best, self._rows, d.detach()
        if self._repeated:
            chosen = first_of_each(rows)
            rows, d = rows[chosen], d[chosen]
        open_rows = (~(best.done[rows] & self.early_stopping)).nonzero().squeeze(1)
        best.d.index_copy_(0, rows[open_rows], d.index_select(0, open_rows))

    def alive(self) -> Tensor:
        """bool [batch]: rows that can still get worse and may still ask."""
        done = self._best.done[self._rows]
        alive = ~done if self.early_stopping else torch.ones_like(done)
        if self.threat.query_limit is not None:
            alive = alive & (self._best.asked[self._rows] < self.threat.query_limit)
        return alive

    def take(self, rows: Tensor) -> Problem:
        """A view of some rows, by index or by a mask; rows may repeat. What it finds counts for the whole batch."""
        rows = rows.nonzero().squeeze(1) if rows.dtype == torch.bool else rows
        view = Problem.__new__(Problem)
        view.__dict__.update(self.__dict__)
        view.space, view.goal, view.keys = self.space.take(rows), self.goal.take(rows), self.keys.take(rows)
        view._surrogates = tuple(surrogate.take(rows) for surrogate in self._surrogates)
        if self.context is not None:
            view.context = replace(self.context, episodes=self.context.episodes[rows])
        view._rows = self._rows[rows]
        # Rows in rising order, by far the usual case, cannot repeat.
        rising = bool((view._rows[1:] > view._rows[:-1]).all())
        view._repeated = not rising and len(torch.unique(view._rows)) < len(view._rows)
        return view

    def wanting(self, goal: Goal) -> Problem:
        """The same rows under another goal, such as a given answer. What it finds counts for the whole batch, as that
        goal judges it."""
        view = Problem.__new__(Problem)
        view.__dict__.update(self.__dict__)
        view.goal = goal
        return view

    def batches(self) -> Iterator[Problem]:
        """The rows in order, as many at a time as fit into one pass."""
        if len(self) <= self.width:
            yield self
            return
        for start in range(0, len(self), self.width):
            yield self.take(torch.arange(start, min(start + self.width, len(self)), device=self._rows.device))

    def _need_gradient(self) -> None:
        if self.threat.access != "gradient":
            raise AccessDenied(f"{self.threat} allows no gradients; expected access 'gradient'")
        if not self._victim.differentiable:
            raise NotApplicable("the victim is not differentiable, so it cannot be attacked by gradients")

    def _spend(self, rows: int) -> None:
        limit, asked = self.threat.query_limit, self._best.asked
        if limit is not None:
            left = limit - asked[self._rows]
            if self._repeated:
                left = left - (torch.bincount(self._rows, minlength=len(asked))[self._rows] - 1)
            if bool((left < 1).any()):
                raise QueryLimitReached(f"a row has used its {limit} queries; go on with the rows of alive()")
        self.ledger.forward(rows, queries=0 if self._own_model else None)
        asked.index_add_(0, self._rows, torch.ones_like(self._rows))

    def _answer(self, inputs: Inputs) -> Scores:
        if inputs.mask is not None:  # a victim may write into what it reads: values are made anew, the mask is kept
            inputs = Inputs(inputs.values, inputs.mask.clone())
        if not self._half:
            return self._victim(inputs)
        with torch.autocast(inputs.values.device.type, dtype=torch.bfloat16):
            scores = self._victim(inputs)
        return replace(scores, values=scores.values.float())

    def _embedded(self, d: Tensor) -> tuple[Tensor, Inputs]:
        """The vectors to differentiate in, and the inputs made of them: nobody may write into a leaf."""
        space, victim = self.space, self._victim
        if not isinstance(space, DiscreteSpace) or not isinstance(victim, EmbeddingVictim):
            raise NotApplicable("gains of replacements need word candidates and a victim that embeds words")
        chosen = space.apply(d)
        vectors = victim.embed(chosen.values).detach().requires_grad_(True)
        return vectors, Inputs(vectors.clone(), chosen.mask)

    def _changes(self, vectors: Tensor, gradient: Tensor) -> Tensor:
        assert isinstance(self._victim, EmbeddingVictim)
        return changes_of_choices(discrete(self.space), self._victim.embed, vectors, gradient)

    def _backwards(self, outputs: Tensor, variable: Tensor) -> list[Tensor]:
        gradients = gradients_of_columns(outputs, variable)
        self.ledger.backward(len(self._rows) * len(gradients))
        return gradients

    def _judge(
        self, d: Tensor, scores: Scores, losses: Tensor | None, loss: str | None, towards: Tensor | None = None
    ) -> Tensor:
        verdict = self.goal.judge(scores)
        losses = torch.full_like(verdict.damage, -torch.inf) if losses is None else losses
        if self._half and bool(verdict.success.any()):
            self.ledger.forward(int(verdict.success.sum()), queries=0)  # the same answer once more, to be sure of it
            inputs = self.space.apply(d.detach())
            verdict, losses = confirmed(self._victim, self.goal, inputs, verdict, losses, loss, towards)
        # Scores that are not finite are a diagnostic; were an infinite loss the highest, a search would head for them.
        finite = scores.finite()
        self._best.note_scores(self._rows, finite | self.minimum_norm)  # without a bound an honest victim overflows
        losses = torch.where(torch.isnan(losses) | ~finite, -torch.inf, losses)
        damage = verdict.damage
        if self.minimum_norm:
            damage = torch.where(verdict.success, -self.space.norm(d.detach()), -torch.inf)
        offered = (self._rows, d.detach(), verdict.success, damage, losses, verdict.done)
        if loss is None:
            offered = tuple(part[verdict.success] for part in offered)  # type: ignore[assignment]
        self._best.offer(*offered, self._repeated)
        return verdict.success

    def _checked(self, values: Tensor) -> Tensor:
        # The largest entry says both whether a row is all zero and, since NaN and inf win, whether it is finite.
        largest = values.flatten(1).abs().amax(1)
        broken = ~torch.isfinite(largest)
        self._best.note_gradients(self._rows, largest == 0, broken)
        if not bool(broken.any()):
            return values
        return torch.where(broken.reshape(-1, *[1] * (values.ndim - 1)), 0.0, values)
