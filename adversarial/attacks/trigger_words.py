"""Universal trigger words, Wallace et al. 2019, https://arxiv.org/abs/1908.07125, where words may only be exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from adversarial.best import first_of_each
from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.problem import Problem
from adversarial.spaces.kinds import discrete
from adversarial.spaces.protocol import DiscreteSpace


ENTRIES = (
    AttackEntry(
        name="trigger-words",
        code="adversarial.attacks.trigger_words:trigger_words",
        summary="rules, this word for that one, for all sentences, learned on other examples",
        access="gradient",
        needs=frozenset({"candidates"}),
        paper="https://arxiv.org/abs/1908.07125",
        stage="fit",
    ),
)


Gains = tuple[Tensor, Tensor]

WORD_BITS = 32  # two ids share an int64


def trigger_words(
    problems: Callable[[], Iterator[Problem]], *, rounds: int = 5, loss: str = "margin"
) -> Callable[[Problem], None]:
    """Learns which word to replace by which wherever it occurs, and gives the attack that submits the result.

    The published triggers are words put in front of every sentence. This threat adds no words: a sentence's words are
    exchanged for candidates of their own, so what can be shared by all sentences is a rule, this word for that one. A
    sentence obeys the rules for its words, the strongest first, as many as its budget allows. A rule's strength is its
    mean gain, to first order, over the places where it fits. The gains depend on the words around, so every round
    measures them anew with the rules so far obeyed, and rules are made of the means over all rounds. The set that fools
    most rows is kept, among equals that of the highest loss. A round costs a forward and a backward a row, and the last
    set a forward; the attack itself asks nothing.
    """
    if rounds < 1:
        raise InvalidOption(f"rounds must be at least 1, got {rounds}")
    rules = best = Rules.of([])
    most = (-1, -torch.inf)
    gathered: list[Gains] = []
    for turn in range(rounds + 1):
        fooled, losses = 0, 0.0
        for problem in problems():
            space = discrete(problem.space)
            d = rules.obeyed(space)
            if turn < rounds:
                found = problem.choices(d, loss)
                gathered.append(_gains_by_rule(space, found.values))
                success, loss_here = found.success, found.loss
            else:
                outcome = problem.evaluate(d, loss)
                assert outcome.loss is not None
                success, loss_here = outcome.success, outcome.loss
            fooled += int(success.sum())
            losses += float(loss_here.sum(dtype=torch.float64))
        if not gathered:
            raise NotApplicable("there is nothing to learn on: the fit split is empty")
        if (fooled, losses) > most:
            best, most = rules, (fooled, losses)
        rules = Rules.of(gathered)

    def attack(problem: Problem) -> None:
        problem.submit(best.obeyed(discrete(problem.space)))

    return attack


@dataclass(frozen=True, slots=True)
class Rules:
    """Words in rising order, what each is replaced by, int64 [rules], and how strong the rule is, float64 [rules]."""

    originals: Tensor
    replacements: Tensor
    strengths: Tensor

    @classmethod
    def of(cls, gathered: list[Gains]) -> Rules:
        """For each word the replacement of the largest mean gain, where that is a gain at all."""
        if not gathered:
            nothing = torch.zeros(0, dtype=torch.int64)
            return cls(nothing, nothing, nothing.to(torch.float64))
        codes, gains = (torch.cat(parts) for parts in zip(*gathered, strict=True))
        codes, place, counts = torch.unique(codes, return_inverse=True, return_counts=True)
        means = torch.zeros(len(codes), dtype=torch.float64, device=codes.device).index_add(0, place, gains) / counts
        order = means.argsort(descending=True, stable=True)
        kept = order[first_of_each(codes[order] >> WORD_BITS)]
        kept = kept[means[kept] > 0]
        return cls(codes[kept] >> WORD_BITS, codes[kept] & (1 << WORD_BITS) - 1, means[kept])

    def obeyed(self, space: DiscreteSpace) -> Tensor:
        """d with the strongest rules of each row, as many as its budget allows; of equals, the leftmost."""
        if not len(self.originals):
            return space.null()
        table = space.candidates()
        present = table[:, :, 0].contiguous()
        rule = torch.searchsorted(self.originals, present).clamp(max=len(self.originals) - 1)
        known = self.originals[rule] == present
        choices = torch.arange(table.shape[2], device=table.device)
        fits = (table == self.replacements[rule][:, :, None]) & known[:, :, None]
        fits = fits & (choices > 0) & (choices < space.sizes()[:, :, None])
        strength = torch.where(fits.any(2), self.strengths[rule], 0.0)
        order = strength.argsort(dim=1, descending=True, stable=True).argsort(dim=1, stable=True)
        chosen = (order < space.radius.floor()[:, None]) & (strength > 0)
        return torch.where(chosen, fits.to(torch.int64).argmax(2), 0)


def _gains_by_rule(space: DiscreteSpace, gains: Tensor) -> Gains:
    """Every replacement that there is, as the word's id and the replacement's in one number, and its gain over the
    word that stood there at first; int64 and float64."""
    table = space.candidates()
    over = (gains - gains[:, :, :1])[:, :, 1:]
    codes = (table[:, :, :1] << WORD_BITS) + table[:, :, 1:]
    exists = torch.isfinite(over)
    return codes[exists], over[exists].to(torch.float64)
