"""Rank intervals of many entries: what `rank_intervals` of scoring/statistics.py gives, fast enough for ten thousand.

The question for each pair is whether the 95% interval of their paired difference excludes 0. That needs no quantile:
it is a count of resamples on the wrong side. Most pairs are told by their own resamples' tails, the rest by counting;
pairs that were told before are remembered.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from leaderboard.scoring.statistics import (
    CONFIDENCE,
    FEWEST_DIFFERING,
    RESAMPLES,
    RankInterval,
    Sample,
    difference,
    quality_draws,
)


_ROUNDING: Final = 1e-12
# np.quantile lies between the resamples of these two places, counted from 0 in order of size.
_PLACE: Final = (1 - CONFIDENCE) / 2 * (RESAMPLES - 1)
_BELOW: Final = math.floor(_PLACE)
_TAIL: Final = _BELOW // 2
_MEMBERS: Final = 4_000_000  # resamples compared at once: 32 MB

Signs = NDArray[np.int8]


class Ranker:
    """Ranks one board again and again; what it told of a pair is kept while both entries stay as they are."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._signs: Signs = np.zeros((0, 0), np.int8)
        self._draws: NDArray[np.float64] = np.zeros((0, RESAMPLES))

    def ranks(self, entries: Mapping[str, Sequence[Sample]]) -> dict[str, RankInterval]:
        """Best rank: 1 + the entries that are separably better. Worst: all less those that are separably worse."""
        names = sorted(entries)
        if not names:
            return {}
        samples = [entries[name] for name in names]
        keys = [_key(one) for one in samples]
        self._update(keys, samples)
        better, worse = _counts(self._signs, -1), _counts(self._signs, 1)
        return {
            name: RankInterval(1 + int(better[row]), len(names) - int(worse[row])) for row, name in enumerate(names)
        }

    def _update(self, keys: list[str], samples: Sequence[Sequence[Sample]]) -> None:
        """Makes signs[i, j] 1 where i is separably better than j, -1 where it is worse, else 0."""
        if keys == self._keys:
            return
        known = {key: row for row, key in enumerate(self._keys)}
        old = [known.get(key, -1) for key in keys]
        kept = np.array([row for row, at in enumerate(old) if at >= 0], dtype=np.intp)
        fresh = [row for row, at in enumerate(old) if at < 0]
        before = np.array([at for at in old if at >= 0], dtype=np.intp)
        signs = np.zeros((len(keys), len(keys)), np.int8)
        signs[np.ix_(kept, kept)] = self._signs[np.ix_(before, before)]
        draws = np.empty((len(keys), RESAMPLES))
        draws[kept] = self._draws[before]
        for row in fresh:
            draws[row] = np.mean([quality_draws(one) for one in samples[row]], axis=0)
        self._keys, self._signs, self._draws = keys, signs, draws
        _compare(signs, draws, samples, fresh)


def _compare(
    signs: Signs, draws: NDArray[np.float64], samples: Sequence[Sequence[Sample]], fresh: Sequence[int]
) -> None:
    """Fills the rows and columns of the entries in fresh."""
    places = (_TAIL, RESAMPLES - 1 - _TAIL, RESAMPLES // 2, RESAMPLES // 2 + _BELOW + 2)
    low, high, middle, upper = np.array([np.partition(row, places)[list(places)] for row in draws]).T
    groups, moved = _groups(samples), _moved(samples)
    done = np.zeros(len(samples), dtype=bool)
    for one in fresh:
        done[one] = True
        others = np.flatnonzero(~done)
        same = groups[others] == groups[one]
        for other in others[~same]:
            sign = difference(samples[one], samples[other]).separable
            signs[one, other], signs[other, one] = sign, -sign
        others = others[same]
        # At most _TAIL resamples of each lie beyond the other's: fewer are on the wrong side than the interval needs.
        ahead = low[one] > high[others] + _ROUNDING
        behind = low[others] > high[one] + _ROUNDING
        # Of more than half of one's resamples and half of the other's, enough are on the wrong side.
        never_ahead, never_behind = upper[one] <= middle[others], upper[others] <= middle[one]
        ahead |= _excludes(draws, one, others, ~ahead & ~behind & ~never_ahead, 1.0)
        behind |= _excludes(draws, one, others, ~ahead & ~behind & ~never_behind, -1.0)
        found = np.where(ahead, 1, 0) - np.where(behind, 1, 0)
        surely = np.abs(moved[one] - moved[others]).sum(axis=1) >= FEWEST_DIFFERING
        for place in np.flatnonzero((found != 0) & ~surely):
            if _differing(samples[one], samples[others[place]]) < FEWEST_DIFFERING:
                found[place] = 0
        signs[one, others], signs[others, one] = found, -found


def _counts(signs: Signs, wanted: int) -> NDArray[np.intp]:
    """How often each row holds a sign; a part of the rows at a time, so that no second table of that size is made."""
    parts = [np.count_nonzero(signs[at : at + 500] == wanted, axis=1) for at in range(0, len(signs), 500)]
    return np.concatenate(parts)


def _excludes(
    draws: NDArray[np.float64], one: int, others: NDArray[np.intp], asked: NDArray[np.bool_], sign: float
) -> NDArray[np.bool_]:
    """Of the pairs asked, whether the interval of sign * (one - other) lies above 0."""
    found = np.zeros(len(others), dtype=bool)
    places = np.flatnonzero(asked)
    step = max(1, _MEMBERS // RESAMPLES)
    for at in range(0, len(places), step):
        part = places[at : at + step]
        gaps = sign * (draws[one] - draws[others[part]])
        wrong = np.count_nonzero(gaps <= _ROUNDING, axis=1)
        found[part] = wrong <= _BELOW
        for edge in np.flatnonzero(wrong == _BELOW + 1):
            found[part[edge]] = np.quantile(gaps[edge], (1 - CONFIDENCE) / 2) > _ROUNDING
    return found


def _differing(one: Sequence[Sample], other: Sequence[Sample]) -> int:
    """On how many examples two entries differ, told early where it is enough."""
    count = 0
    for mine, theirs in zip(one, other, strict=True):
        count += int(np.count_nonzero(mine.values != theirs.values))
        if count >= FEWEST_DIFFERING:
            break
    return count


def _moved(samples: Sequence[Sequence[Sample]]) -> NDArray[np.float64]:
    """Sums of the values of each task over the span of all values; shape (entries, tasks).

    One example changes a sum by the span at most, so entries whose sums are k spans apart differ on k examples.
    """
    spans = []
    for place in range(len(samples[0])):
        values = [entry[place].values for entry in samples]
        spans.append(max(float(one.max()) for one in values) - min(float(one.min()) for one in values) or 1.0)
    sums = [[float(one.values.sum()) / span for one, span in zip(entry, spans, strict=True)] for entry in samples]
    return np.array(sums) * (1 - 1e-9)


def _groups(samples: Sequence[Sequence[Sample]]) -> NDArray[np.intp]:
    """Numbers that are the same for entries that were measured on the same examples of the same tasks."""
    known: dict[tuple[object, ...], int] = {}
    keys = [tuple((one.task, one.ids) for one in entry) for entry in samples]
    return np.array([known.setdefault(key, len(known)) for key in keys], dtype=np.intp)


def _key(samples: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for one in samples:
        digest.update(repr((one.task, one.metric, hash(one.ids), len(one.ids))).encode())
        digest.update(one.values.tobytes())
        digest.update(one.weights.tobytes())
    return digest.hexdigest()
