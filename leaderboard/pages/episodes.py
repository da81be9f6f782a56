"""An episode as a picture: what the agent was shown, what was true, and what it did."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from leaderboard.records.examples import Disturbed, Original


if TYPE_CHECKING:
    from markupsafe import Markup


Numbers = NDArray[np.float64]

PANELS: Final = 2
_WIDTH, _PANEL, _LEFT, _RIGHT, _STRIP = 460, 104, 46.0, 8.0, 12


def trajectory(episode: Disturbed, original: Original | None, name: str) -> Markup:
    """The numbers of the observation that were moved the most, over the steps, and the actions as a strip below."""
    from markupsafe import Markup

    assert episode.values is not None
    assert episode.actions is not None
    true = _numbers(original.values) if original is not None and original.values is not None else None
    steps = len(true) if true is not None else _steps(episode.values)
    shown, acted = _numbers(episode.values[:steps]), episode.actions[:steps]
    names = original.names if original is not None else ()
    chosen = _panels(shown, true)
    height = PANELS * _PANEL + _STRIP + 34 if len(chosen) > 1 else _PANEL + _STRIP + 34
    mark = hashlib.sha256(repr((name, steps, shown.tobytes(), acted.tobytes())).encode()).hexdigest()[:12]
    labels = [names[index] if index < len(names) else f"number {index + 1}" for index in chosen]
    what = "shown and true" if true is not None else "shown"
    parts = [
        Markup(
            '<svg class="episode" viewBox="0 0 {} {}" role="img" aria-labelledby="t{} d{}"><title id="t{}">{}</title>'
            '<desc id="d{}">{}</desc>'
        ).format(_WIDTH, height, mark, mark, mark, f"{name}: {', '.join(labels)}, {what}, over {steps} steps", mark,
                 _told(labels, chosen, shown, true, acted)),
    ]  # fmt: skip
    for place, (index, label) in enumerate(zip(chosen, labels, strict=True)):
        parts += _panel(place * _PANEL, label, shown[:, index], None if true is None else true[:, index])
    parts += _actions(len(chosen) * _PANEL + 8, acted, steps)
    return Markup("").join([*parts, Markup("</svg>")])


def _panels(shown: Numbers, true: Numbers | None) -> list[int]:
    if true is None or len(true) == 0:
        return list(range(min(PANELS, shown.shape[1])))
    spread = np.ptp(true, axis=0) + 1e-9
    moved = np.abs(shown - true).max(axis=0, initial=0.0) / spread
    return sorted(np.argsort(-moved, kind="stable")[:PANELS].tolist())


def _panel(top: int, label: str, shown: Numbers, true: Numbers | None) -> list[Markup]:
    from markupsafe import Markup

    both = shown if true is None else np.concatenate([shown, true])
    low, high = float(both.min(initial=0.0)), float(both.max(initial=0.0))
    parts = [
        Markup('<text class="label" x="{:.1f}" y="{}">{}</text>').format(_LEFT, top + 13, label),
        Markup('<path class="grid" d="M{0:.1f} {1}H{2:.1f}M{0:.1f} {3}H{2:.1f}"/>').format(
            _LEFT, top + 20, _WIDTH - _RIGHT, top + _PANEL - 4
        ),
        Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="end">{:.2g}</text>').format(
            _LEFT - 5, top + 24, high
        ),
        Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="end">{:.2g}</text>').format(
            _LEFT - 5, top + _PANEL, low
        ),
        _path("line s1 thin", shown, top, low, high),
    ]
    if true is not None:
        parts.append(_path("line s0 thin", true, top, low, high))
    return parts


def _path(kind: str, values: Numbers, top: int, low: float, high: float) -> Markup:
    from markupsafe import Markup

    if not len(values):
        return Markup("")
    across = (_WIDTH - _LEFT - _RIGHT) / max(1, len(values) - 1)
    down = (_PANEL - 24) / ((high - low) or 1.0)
    points = "L".join(
        f"{_LEFT + i * across:.1f} {top + _PANEL - 4 - (value - low) * down:.1f}"
        for i, value in enumerate(values.tolist())
    )
    return Markup('<path class="{}" d="M{}"/>').format(kind, points)


def _actions(top: int, acted: NDArray[Any], steps: int) -> list[Markup]:
    """Runs of the same action as bars; the higher the number of the action, the higher it stands."""
    from markupsafe import Markup

    across = (_WIDTH - _LEFT - _RIGHT) / max(1, steps)
    most = max(1, int(acted.max(initial=0)))
    commands = []
    for start, end, action in _runs(acted):
        y = top + _STRIP - 4 - (_STRIP - 4) * action / most
        commands.append(
            f"M{_LEFT + start * across:.1f} {y:.1f}h{(end - start) * across:.1f}v3h-{(end - start) * across:.1f}z"
        )
    return [
        Markup('<path class="actions" d="{}"/>').format("".join(commands)),
        Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="end">action</text>').format(
            _LEFT - 5, top + _STRIP - 2
        ),
        Markup('<text class="tick" x="{:.1f}" y="{}">0</text>').format(_LEFT, top + _STRIP + 14),
        Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="end">{} steps</text>').format(
            _WIDTH - _RIGHT, top + _STRIP + 14, steps
        ),
    ]


def _runs(acted: NDArray[Any]) -> list[tuple[int, int, int]]:
    ends = [*(np.flatnonzero(np.diff(acted)) + 1).tolist(), len(acted)] if len(acted) else []
    return [(start, end, int(acted[start])) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _told(
    labels: Sequence[str], chosen: Sequence[int], shown: Numbers, true: Numbers | None, acted: NDArray[Any]
) -> str:
    told = []
    for label, index in zip(labels, chosen, strict=True):
        if true is not None and len(true):
            most = float(np.abs(shown[:, index] - true[:, index]).max())
            low, high = float(true[:, index].min()), float(true[:, index].max())
            told.append(f"{label} runs from {low:.2g} to {high:.2g} and is shown up to {most:.2g} off")
    return "; ".join([*told, f"{len(_runs(acted))} runs of the same action"]) + "."


def _steps(values: NDArray[Any]) -> int:
    """Where an episode ends: what lies beyond is stored as zeros."""
    last = np.flatnonzero(np.any(values != 0, axis=1))
    return int(last[-1]) + 1 if len(last) else 0


def _numbers(values: NDArray[Any]) -> Numbers:
    return np.nan_to_num(np.asarray(values, dtype=np.float64))
