"""What the attacker wants, and when a row is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from adversarial.errors import InvalidOption, NotApplicable
from adversarial.inputs import Scores
from adversarial.losses import class_loss


@dataclass(frozen=True, slots=True)
class Judgement:
    """A batch judged.

    success: bool [batch], the goal is reached. damage: float32 [batch], how much the metric suffers, more is worse
    for the victim. done: bool [batch], no further search can make it worse.
    """

    success: Tensor
    damage: Tensor
    done: Tensor


class Goal(Protocol):
    """One batch's goal."""

    @property
    def targeted(self) -> bool:
        """Whether a given answer is wanted, not just a wrong one."""

    def loss(self, scores: Scores, name: str, towards: Tensor | None = None) -> Tensor:
        """What the attacker ascends, float32 [batch], each entry of its own row only.

        towards: int64 [batch], a class for each row that the loss shall lead to, whatever the goal is; raises
        NotApplicable where there are no classes.
        """

    def judge(self, scores: Scores) -> Judgement:
        """Judges by the metric itself, not by a loss. Scores that are not finite never succeed."""

    def take(self, rows: Tensor) -> Self: ...


@runtime_checkable
class RelativeGoal(Goal, Protocol):
    """A goal some of whose losses compare with the victim's answers to the undisturbed inputs."""

    @property
    def relative_losses(self) -> frozenset[str]:
        """Their names."""

    def relative_to(self, clean: Scores) -> Self:
        """The goal that knows these answers, a row each."""


@dataclass(frozen=True, slots=True)
class Flip:
    """A wrong class decision, or a given one. Done at the first success.

    labels: int64 [batch], the right decisions. targets: int64 [batch] or None; a target equal to its label is
    refused, since it is reached by doing nothing. highest: the largest class that is named where nobody has looked
    whether the victim decides so many; -1 where somebody has.
    """

    labels: Tensor
    targets: Tensor | None = None
    highest: int = -1

    def __post_init__(self) -> None:
        if self.targets is not None and bool((self.targets == self.labels).any()):
            row = int((self.targets == self.labels).nonzero()[0])
            raise InvalidOption(f"target {int(self.targets[row])} of row {row} is its label; choose another class")

    @property
    def targeted(self) -> bool:
        return self.targets is not None

    def loss(self, scores: Scores, name: str, towards: Tensor | None = None) -> Tensor:
        """Raises NotApplicable where no class is decided, or not so many."""
        if scores.values.ndim != 2 or scores.values.shape[1] <= self.highest:
            wanted = "a class decision" if self.highest < 0 else f"a decision for class {self.highest}, counted from 0"
            raise NotApplicable(f"{wanted} is attacked, and the victim answers {list(scores.values.shape[1:])} a row")
        return class_loss(name)(scores.values, self.labels, self.targets if towards is None else towards)

    def judge(self, scores: Scores) -> Judgement:
        decision = scores.values.argmax(1)
        success = decision != self.labels if self.targets is None else decision == self.targets
        success = success & scores.finite()
        return Judgement(success, success.to(torch.float32), success)

    def take(self, rows: Tensor) -> Flip:
        targets = None if self.targets is None else self.targets[rows]
        return Flip(self.labels[rows], targets, self.highest)


@dataclass(frozen=True, slots=True)
class RaiseLoss:
    """Another goal's loss without its judgement: what a training loop wants, where nothing is ever done."""

    goal: Goal

    @property
    def targeted(self) -> bool:
        return self.goal.targeted

    def loss(self, scores: Scores, name: str, towards: Tensor | None = None) -> Tensor:
        return self.goal.loss(scores, name, towards)

    def judge(self, scores: Scores) -> Judgement:
        never = torch.zeros(len(scores), dtype=torch.bool, device=scores.values.device)
        return Judgement(never, never.to(torch.float32), never)

    def take(self, rows: Tensor) -> RaiseLoss:
        return RaiseLoss(self.goal.take(rows))
