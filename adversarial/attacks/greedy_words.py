"""Greedy search over replacements of words on the victim's own scores, the core of TextFooler, Jin et al. 2019,
https://arxiv.org/abs/1907.11932, without a guess of which words matter: all are tried."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption
from adversarial.problem import Problem
from adversarial.spaces.kinds import discrete


ENTRIES = (
    AttackEntry(
        name="greedy-words",
        code="adversarial.attacks.greedy_words:greedy_words",
        summary="every single replacement is scored, and the best one made, word after word",
        access="scores",
        needs=frozenset({"candidates"}),
        paper="https://arxiv.org/abs/1907.11932",
    ),
)


def greedy_words(problem: Problem, *, exchanges: int = 2) -> None:
    """Every round tries each single replacement of each word, and keeps the sentence with the highest margin loss.

    A first-order gain is wrong where the victim is far from linear between two words; a score never is. When a row's
    budget is spent, `exchanges` more rounds undo each replacement in turn and try all others in its place. A row stops
    where no replacement raises its loss. All sentences go in lockstep; a round costs a row one query for each
    replacement that there is, and the rounds of exchanges as many for each word replaced. Under a query limit a row
    tries only as many as it has queries left, the first choices of all words first.
    """
    if exchanges < 0:
        raise InvalidOption(f"exchanges must be at least 0, got {exchanges}")
    discrete(problem.space)
    everyone = torch.arange(len(problem), device=problem.rows.device)
    d, spent = problem.space.null(), torch.zeros_like(everyone)
    loss, going = _scored(problem, everyone, d), torch.ones_like(everyone, dtype=torch.bool)
    while True:
        full = (d != 0).sum(1) >= problem.space.radius.floor()
        going = going & problem.alive() & (~full | (spent < exchanges))
        rows = going.nonzero().squeeze(1)
        if not len(rows):
            return
        view = problem.take(rows)
        owner, tried = _affordable(view, *_neighbours(view, d[rows], full[rows]))
        best, at = _best(owner, _scored(view, owner, tried), len(rows))
        better = best > loss[rows]
        d[rows[better]], loss[rows[better]] = tried[at[better]], best[better]
        going[rows], spent[rows] = better, spent[rows] + full[rows]


def _neighbours(view: Problem, d: Tensor, full: Tensor) -> tuple[Tensor, Tensor]:
    """Every sentence one replacement away, and the row that it is of; int64 [sentences], [sentences, words].

    Where a row's budget is spent (full: bool [batch]), one of its replacements is undone first, each in turn. First
    choices come first, so that a row which may not try all still tries something of every word.
    """
    space = discrete(view.space)
    starts, owner = d, torch.arange(len(d), device=d.device)
    if bool(full.any()):
        place, word = ((d != 0) & full[:, None]).nonzero(as_tuple=True)
        undone = d[place].scatter(1, word[:, None], 0)
        open_rows = (~full).nonzero().squeeze(1)
        starts, owner = torch.cat([d[open_rows], undone]), torch.cat([open_rows, place])
    sizes = space.sizes()[owner]
    choices = torch.arange(1, int(sizes.max()) if len(sizes) else 1, device=d.device)
    free = (starts == 0) & (space.radius[owner] >= 1)[:, None]
    exists = (choices[:, None, None] < sizes) & free & (choices[:, None, None] != d[owner])
    choice, start, word = exists.nonzero(as_tuple=True)
    return owner[start], starts[start].scatter(1, word[:, None], choices[choice][:, None])


def _affordable(view: Problem, owner: Tensor, tried: Tensor) -> tuple[Tensor, Tensor]:
    """As many of each row's sentences as it has queries left."""
    limit = view.threat.query_limit
    if limit is None:
        return owner, tried
    order = owner.argsort(stable=True)
    place = torch.empty_like(owner)
    place[order] = torch.arange(len(owner), device=owner.device) - torch.searchsorted(owner[order], owner[order])
    kept = place < (limit - view.best.asked[view.rows])[owner]
    return owner[kept], tried[kept]


def _scored(view: Problem, owner: Tensor, tried: Tensor) -> Tensor:
    """The loss of each sentence, float32 [sentences]; -inf where the victim decides nothing.

    All are asked, also those of rows that break on the way: otherwise the batch would decide which success is kept."""
    losses = torch.full((len(owner),), -torch.inf, device=owner.device)
    for part in torch.split(torch.arange(len(owner), device=owner.device), view.width):
        found = view.take(owner[part]).evaluate(tried[part], "margin").loss
        assert found is not None  # scores are seen
        losses[part] = found.to(losses.dtype).nan_to_num(-torch.inf, torch.inf, -torch.inf)
    return losses


def _best(owner: Tensor, losses: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Each row's highest loss and its first place, -inf and 0 where it has none."""
    best = torch.full((rows,), -torch.inf, device=losses.device).scatter_reduce(0, owner, losses, "amax")
    places = torch.arange(len(owner), device=owner.device)
    at = torch.where(losses == best[owner], places, len(owner))
    first = torch.full((rows,), len(owner), device=owner.device).scatter_reduce(0, owner, at, "amin")
    return best, first.clamp(max=max(len(owner) - 1, 0))
