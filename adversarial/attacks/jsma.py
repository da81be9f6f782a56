"""The Jacobian saliency map attack (JSMA), Papernot et al. 2015, https://arxiv.org/abs/1511.07528."""

from __future__ import annotations

import torch
from torch import Tensor

from adversarial.attacks.saliency import Aim, ask_last
from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption, NotApplicable
from adversarial.problem import Problem
from adversarial.search import State, search
from adversarial.spaces.kinds import continuous


ENTRIES = (
    AttackEntry(
        name="jsma",
        code="adversarial.attacks.jsma:jsma",
        summary="the most salient pair of features to the end of its range, one pair a gradient",
        access="gradient",
        needs=frozenset({"classes", "bounds"}),
        paper="https://arxiv.org/abs/1511.07528",
        minimum_norm=True,
    ),
)


DIRECTIONS = {"increase": (1.0,), "decrease": (-1.0,), "both": (1.0, -1.0)}
SATURATED = 0.01  # of the range: a feature so close to its end has no room left
PAIRS_AT_ONCE = 1 << 24  # so many are compared together


def jsma(problem: Problem, *, theta: float = 1.0, share: float = 0.1, direction: str = "increase") -> None:
    """Pairs of features, one pair a gradient: the pair that most raises the target's score and lowers all others'.

    theta: how far a feature moves, as a share of its input range; it leaves the search where it reaches the range's
    end. share: of the features that may change (gamma in the paper), but one pair at least; a finite budget that
    counts features holds, too. direction: `increase`, `decrease`, or at each step the better of `both`. Without a
    target each row heads for its runner-up class at the clean input, and any wrong class ends it. Where no pair does
    both, which is where the published search ends, the pair that most raises the target over the others goes on. A pair
    costs a forward and two backwards, and the last point a forward; where the fewest features are looked for, a forward
    more asks whether the best single one would do.
    """
    if not (0 < theta <= 1 and 0 < share <= 1):
        raise InvalidOption(f"theta and share must be in (0, 1], got {theta} and {share}")
    if direction not in DIRECTIONS:
        raise InvalidOption(f"direction is one of {', '.join(DIRECTIONS)}, not {direction!r}")
    room = continuous(problem.space).bounds()
    if room is None or not all(bool(torch.isfinite(wall).all()) for wall in room):
        raise NotApplicable("jsma moves features by shares of their input range, and this range is open")
    counted = problem.threat.norm == "l0"
    most = max(2, int(share * problem.space.null()[0].numel()))
    aim = Aim(problem)

    def start(view: Problem, member: Tensor) -> State:
        d = view.space.null()
        limit = view.space.radius.floor().clamp(max=most) if counted else torch.full_like(view.space.radius, most)
        return {
            "d": d,
            "free": torch.ones_like(d, dtype=torch.bool),
            "left": limit.to(torch.int64),
            "target": torch.full_like(member, -1),
        }

    def step(view: Problem, state: State) -> tuple[State, Tensor]:
        d, left = state["d"], state["left"]
        found, target = aim.jacobian(view, d, state["target"])
        low, high = _bounds(view)
        least = SATURATED * (high - low)
        alpha, beta = found.values.flatten(2)
        best, pair = torch.zeros_like(alpha[:, 0]), torch.zeros_like(left)[:, None].expand(-1, 2)
        ways, fallback, back, second = torch.zeros_like(best), torch.zeros_like(best), torch.zeros_like(best), pair
        for way in DIRECTIONS[direction]:
            # A feature that went up never comes down again.
            domain = (high - d > least) & (d >= 0) if way > 0 else (d - low > least) & (d <= 0)
            domain = (domain & state["free"]).flatten(1)
            saliency, features = best_pair(way * alpha, way * beta, domain, left == 1)
            higher = saliency > best
            best = torch.where(higher, saliency, best)
            pair = torch.where(higher[:, None], features, pair)
            ways = torch.where(higher, way, ways)
            if bool(((best <= 0) & (left > 0)).any()):
                rise, features = steepest_pair(way * (alpha - beta), domain, left == 1)
                instead = (best <= 0) & (rise > fallback)
                fallback = torch.where(instead, rise, fallback)
                second = torch.where(instead[:, None], features, second)
                back = torch.where(instead, way, back)
        stuck = (best <= 0) & (fallback > 0)
        best, ways = torch.where(stuck, fallback, best), torch.where(stuck, back, ways)
        pair = torch.where(stuck[:, None], second, pair)
        moving = (best > 0) & (left > 0) & ~found.success
        if counted and view.minimum_norm:
            _ask_for_one(view, d, alpha, beta, moving & (left > 1), direction, state["free"], theta)
        span = (high - low).flatten(1).gather(1, pair)
        length = theta * span * (ways * moving)[:, None]
        length[:, 1] *= pair[:, 0] != pair[:, 1]
        wanted = torch.zeros_like(alpha).scatter_add(1, pair, length).reshape(d.shape)
        ahead = torch.clamp(d + wanted, low, high)
        free = state["free"]
        if not counted:
            ahead = view.space.project(ahead)
            # What the budget stops short will not move any further.
            free = free & ((ahead - d - wanted).abs() <= 1e-6)
        left = left - 2 * moving
        ended = ask_last(view, ahead, moving & (left <= 0))
        return {"d": ahead, "free": free, "left": left, "target": target}, moving & ~ended

    search(problem, start, step)


def best_pair(alpha: Tensor, beta: Tensor, domain: Tensor, single: Tensor) -> tuple[Tensor, Tensor]:
    """The pair of features of each row with the largest -A B where A > 0 and B < 0 are its sums of alpha and of beta;
    that saliency, 0 where there is no such pair, and the features, int64 [batch, 2].

    alpha, beta, domain: [batch, features]. single: bool [batch], rows that look for one feature, named twice.

    Exact without a look at all pairs: where two features have an alpha no smaller and a beta no larger than a third
    one's, one of them replaces it in any pair. So only features that fewer than two others dominate so are compared.
    """
    rows, count = alpha.shape
    alpha, order = torch.where(domain, alpha, -torch.inf).sort(dim=1, descending=True, stable=True)
    beta = torch.where(domain, beta, torch.inf).gather(1, order)
    # Of the features before each one, all with no smaller alpha, the second smallest beta.
    ahead = torch.full_like(beta[:, :1], torch.inf)
    smallest = torch.cat([ahead, beta.cummin(1).values[:, :-1]], 1)
    second = torch.cat([ahead, torch.maximum(smallest, beta).cummin(1).values[:, :-1]], 1)
    kept = (beta < second) & torch.isfinite(alpha)
    place = kept.cumsum(1) - 1
    width = max(int(place[:, -1].max()) + 1, 1)
    row, column = kept.nonzero(as_tuple=True)
    index = torch.full((rows, width), count, device=alpha.device).index_put((row, place[row, column]), column)
    none = torch.zeros_like(ahead)
    a = torch.cat([alpha, none - torch.inf], 1).gather(1, index)
    b = torch.cat([beta, none + torch.inf], 1).gather(1, index)
    best, first, other = none[:, 0], torch.zeros_like(index[:, 0]), torch.zeros_like(index[:, 0])
    columns = torch.arange(width, device=alpha.device)
    for some in torch.split(columns, max(1, PAIRS_AT_ONCE // (rows * width))):
        rise = a[:, some, None] + a[:, None, :]
        fall = b[:, some, None] + b[:, None, :]
        allowed = (some[:, None] == columns) == single[:, None, None]
        saliency = torch.where(allowed & (rise > 0) & (fall < 0), -rise * fall, 0.0)
        highest, partner = saliency.max(2)
        highest, chosen = highest.max(1)
        higher = highest > best
        best = torch.where(higher, highest, best)
        first = torch.where(higher, some[chosen], first)
        other = torch.where(higher, partner.gather(1, chosen[:, None]).squeeze(1), other)
    pair = index.gather(1, torch.stack([first, other], 1)).clamp(max=count - 1)
    return best, order.gather(1, pair)


def _ask_for_one(
    view: Problem, d: Tensor, alpha: Tensor, beta: Tensor, rows: Tensor, direction: str, free: Tensor, theta: float
) -> None:
    """Asks whether the best single feature would do instead of a pair: or else odd counts would never be seen."""
    low, high = _bounds(view)
    least = SATURATED * (high - low)
    best, chosen = torch.zeros_like(alpha[:, 0]), torch.zeros_like(alpha[:, 0], dtype=torch.int64)
    ways = torch.zeros_like(best)
    for way in DIRECTIONS[direction]:
        domain = ((high - d > least) & (d >= 0) if way > 0 else (d - low > least) & (d <= 0)) & free
        rise, fall = way * alpha, way * beta
        worth = torch.where(domain.flatten(1) & (rise > 0) & (fall < 0), -rise * fall, 0.0)
        highest, feature = worth.max(1)
        higher = highest > best
        best, chosen = torch.where(higher, highest, best), torch.where(higher, feature, chosen)
        ways = torch.where(higher, way, ways)
    length = theta * (high - low).flatten(1).gather(1, chosen[:, None]) * ways[:, None]
    ahead = torch.clamp(d + torch.zeros_like(alpha).scatter_add(1, chosen[:, None], length).reshape(d.shape), low, high)
    ask_last(view, ahead, rows & (best > 0))


def steepest_pair(slope: Tensor, domain: Tensor, single: Tensor) -> tuple[Tensor, Tensor]:
    """The two features of each row with the largest slopes, their sum, and the features as best_pair gives them; -inf
    where there are none."""
    top, features = torch.where(domain, slope, -torch.inf).topk(min(2, slope.shape[1]), dim=1)
    if slope.shape[1] == 1:
        top, features = top.expand(-1, 2), features.repeat(1, 2)
    alone = single | (top[:, 1] <= 0)
    features[:, 1] = torch.where(alone, features[:, 0], features[:, 1])
    return top[:, 0] + torch.where(alone, 0.0, top[:, 1]), features


def _bounds(view: Problem) -> tuple[Tensor, Tensor]:
    bounds = continuous(view.space).bounds()
    assert bounds is not None  # refused at the start
    return bounds
