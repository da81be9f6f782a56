"""HotFlip, Ebrahimi et al. 2017, https://arxiv.org/abs/1712.06751: replace the word that gains most to first order."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.best import first_of_each
from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption
from adversarial.problem import Problem
from adversarial.spaces.kinds import discrete
from adversarial.spaces.protocol import DiscreteSpace


ENTRIES = (
    AttackEntry(
        name="hotflip",
        code="adversarial.attacks.hotflip:hotflip",
        summary="replacement of the word that gains most to first order, one word a gradient",
        access="gradient",
        needs=frozenset({"candidates"}),
        paper="https://arxiv.org/abs/1712.06751",
        params={"steps": 8},
    ),
    AttackEntry(
        name="hotflip-one-step",
        code="adversarial.attacks.hotflip:hotflip",
        summary="all replacements at once from one gradient: the fgsm of words",
        access="gradient",
        needs=frozenset({"candidates"}),
        paper="https://arxiv.org/abs/1712.06751",
    ),
    AttackEntry(
        name="hotflip-beam",
        code="adversarial.attacks.hotflip:hotflip",
        summary="hotflip with a beam: every sentence goes on from its best few rewritings",
        access="gradient",
        needs=frozenset({"candidates"}),
        paper="https://arxiv.org/abs/1712.06751",
        params={"steps": 8, "beam": 4},
    ),
)


def hotflip(problem: Problem, *, steps: int = 1, loss: str = "ce", beam: int = 1) -> None:
    """One step: one gradient, then the words with the largest gains, as many as the budget allows, at once (the FGSM
    of words). Several steps: one word a gradient, each gradient taken anew at the sentence reached so far; a
    sentence whose budget is used up goes on by exchanging its replacements where that gains.

    beam: how many different sentences a row goes on from; with more than one, every step replaces one word, and the
    sentences with the highest losses, to first order, survive it. A sentence of one step costs one forward and one
    backward; of several steps, steps + 1 and steps, each for every sentence of its beam.
    """
    if steps < 1:
        raise InvalidOption(f"steps must be at least 1, got {steps}")
    if beam < 1:
        raise InvalidOption(f"beam must be at least 1, got {beam}")
    if beam > 1:
        _beam_search(problem, steps, loss, beam)
        return
    d = problem.space.null()
    if steps == 1:
        problem.submit(flipped(discrete(problem.space), problem.gains(d, loss), d, at_once=None))
        return
    for _ in range(steps):
        d = flipped(discrete(problem.space), problem.gains(d, loss), d, at_once=1)
        alive = problem.alive()
        if not bool(alive.all()):
            if not bool(alive.any()):
                return
            problem, d = problem.take(alive), d[alive]
    problem.evaluate(d, loss)


def flipped(space: DiscreteSpace, gains: Tensor, d: Tensor, at_once: int | None) -> Tensor:
    """d with the most gainful replacements made, at most `at_once` more of them."""
    gains, free = _allowed(space, gains, d)
    best, choice = gains.max(2)
    best = torch.where(choice != d, best, 0.0)
    limit = torch.where(free > 0, free, 1.0) if at_once is None else torch.full_like(free, float(at_once))
    order = best.argsort(dim=1, descending=True, stable=True).argsort(dim=1, stable=True)
    return space.project(torch.where((best > 0) & (order < limit[:, None]), choice, d))


def _allowed(space: DiscreteSpace, gains: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """The gains of replacements that this attack may make, -inf for the others, and how many more words each row may
    replace."""
    free = (space.radius.floor() - (d != 0).sum(1)).clamp(min=0)
    # Where nothing is left to spend, only words that are replaced already may change.
    allowed = (d != 0) | (free > 0)[:, None]
    gains = torch.where(allowed[:, :, None], gains, -torch.inf)
    # Undoing a replacement is a choice as well, but never one that this attack makes: it would run in circles.
    gains[:, :, 0] = torch.where(d == 0, gains[:, :, 0], -torch.inf)
    return gains, free


def _beam_search(problem: Problem, steps: int, loss: str, beam: int) -> None:
    """All rows in lockstep; `rows` says whose sentence each entry of d is."""
    rows, d = torch.arange(len(problem), device=problem.rows.device), problem.space.null()
    for _ in range(steps):
        parents, scores, children = [], [], []
        for place, view in _passes(problem, rows):
            own = d.index_select(0, place)
            found = view.choices(own, loss)
            score, child = _children(discrete(view.space), found.values, own, beam)
            parents.append(rows[place][:, None].expand_as(score).flatten())
            scores.append((found.loss[:, None] + score).flatten())
            children.append(child.flatten(0, 1))
        rows, d = _survivors(problem, torch.cat(parents), torch.cat(scores), torch.cat(children), beam)
        if not len(rows):
            return
    for place, view in _passes(problem, rows):
        view.evaluate(d.index_select(0, place), loss)


def _passes(problem: Problem, rows: Tensor) -> list[tuple[Tensor, Problem]]:
    """The sentences as many at a time as fit into one pass: their places, and their view."""
    places = torch.split(torch.arange(len(rows), device=rows.device), problem.width)
    return [(place, problem.take(rows[place])) for place in places]


def _children(space: DiscreteSpace, gains: Tensor, d: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` most gainful single replacements of each sentence, [batch, count], -inf where there are fewer, and
    the sentences they make, [batch, count, positions]."""
    gains, _ = _allowed(space, gains, d)
    gains = gains.scatter(2, d[:, :, None], -torch.inf)
    flat = gains.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)[:, :count]
    position, choice = order // gains.shape[2], order % gains.shape[2]
    children = d[:, None].expand(-1, order.shape[1], -1).scatter(2, position[:, :, None], choice[:, :, None])
    best = flat.gather(1, order)
    return torch.where(best > 0, best, -torch.inf), children


def _survivors(problem: Problem, rows: Tensor, scores: Tensor, d: Tensor, beam: int) -> tuple[Tensor, Tensor]:
    """The `beam` best different sentences of each row that goes on, fewer where it may not ask that often."""
    exists = torch.isfinite(scores) & problem.alive()[rows]
    rows, scores, d = rows[exists], scores[exists], d[exists]
    order = scores.argsort(descending=True, stable=True)
    order = order[rows[order].argsort(stable=True)]
    rows, d = rows[order], d[order]
    if not len(rows):
        return rows, d
    # The same sentence may have several parents; its best score comes first.
    _, same = torch.unique(torch.cat([rows[:, None], d], 1), dim=0, return_inverse=True)
    kept = first_of_each(same).sort().values
    rows, d = rows[kept], d[kept]
    room = torch.full_like(problem.rows, beam)
    if problem.threat.query_limit is not None:
        room = room.clamp(max=problem.threat.query_limit - problem.best.asked[problem.rows])
    begins = torch.searchsorted(rows, rows)
    chosen = torch.arange(len(rows), device=rows.device) - begins < room[rows]
    return rows[chosen], d[chosen]
