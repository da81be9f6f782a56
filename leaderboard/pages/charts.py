"""Line charts as SVG text: axes, 95% intervals, and a title and a description for those who do not see them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from markupsafe import Markup


WIDTH: Final = 460
HEIGHT: Final = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 14.0, 12.0, 44.0
_STYLES: Final = 6


class Line(NamedTuple):
    """One curve. points: x, quality in [0, 1], and the ends of its interval, by rising x."""

    name: str
    points: tuple[tuple[float, float, float, float], ...]


def line_chart(title: str, x_label: str, y_label: str, lines: Sequence[Line], *, log: bool = False) -> Markup:
    """A figure of curves from 0 to 1. log: whether x, which is then above 0, is shown by its logarithm."""
    from markupsafe import Markup, escape

    found = sorted({point[0] for line in lines for point in line.points})
    scale = _Scale(found[0] if log else 0.0, found[-1], log)
    mark = hashlib.sha256(repr((title, lines)).encode()).hexdigest()[:12]
    parts = [
        Markup(
            '<figure class="chart"><svg viewBox="0 0 {} {}" role="img" aria-labelledby="t{} d{}">'
            '<title id="t{}">{}</title><desc id="d{}">{}</desc>'
        ).format(WIDTH, HEIGHT, mark, mark, mark, title, mark, described(x_label, lines)),
        *(_y_tick(value) for value in (0.0, 0.25, 0.5, 0.75, 1.0)),
        *(_x_tick(value, scale) for value in _ticks(found, scale)),
        Markup('<text class="label" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
            (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, x_label
        ),
        Markup(
            '<text class="label" transform="translate(12 {:.1f}) rotate(-90)" text-anchor="middle">{}</text>'
        ).format((_TOP + HEIGHT - _BOTTOM) / 2, y_label),
    ]
    for number, line in enumerate(lines):
        parts += _curve(line, number % _STYLES, scale)
    parts.append(Markup("</svg><figcaption>{}").format(title))
    if len(lines) > 1:
        parts.append(Markup('<ul class="legend">'))
        parts += [
            Markup(
                '<li><svg class="swatch" viewBox="0 0 28 8" aria-hidden="true">'
                '<path class="line s{}" d="M0 4H28"/></svg>'
                "{}</li>"
            ).format(number % _STYLES, line.name)
            for number, line in enumerate(lines)
        ]
        parts.append(Markup("</ul>"))
    parts.append(Markup("</figcaption></figure>"))
    return Markup("").join(escape(one) for one in parts)


def described(x_label: str, lines: Sequence[Line]) -> str:
    """What the curves say, in words."""
    told = []
    for line in lines:
        values = ", ".join(f"{y:.2f} at {x:g} ({low:.2f} to {high:.2f})" for x, y, low, high in line.points)
        told.append(f"{line.name}: {values}")
    return f"By {x_label}. {'; '.join(told)}."


class _Scale(NamedTuple):
    low: float
    high: float
    log: bool

    def place(self, x: float) -> float:
        span = WIDTH - _LEFT - _RIGHT
        if self.log:
            width = math.log(self.high / self.low) or 1.0
            return _LEFT + span * math.log(x / self.low) / width
        return _LEFT + span * (x - self.low) / ((self.high - self.low) or 1.0)


def _y(value: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * value


def _y_tick(value: float) -> Markup:
    from markupsafe import Markup

    y = _y(value)
    return Markup(
        '<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/>'
        '<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="end">{:g}</text>'
    ).format(_LEFT, y, WIDTH - _RIGHT, _LEFT - 6, y + 3.5, value)


def _x_tick(value: float, scale: _Scale) -> Markup:
    from markupsafe import Markup

    x, y = scale.place(value), _y(0)
    return Markup(
        '<path class="axis" d="M{:.1f} {:.1f}v4"/>'
        '<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="middle">{:g}</text>'
    ).format(x, y, x, y + 15, value)


def _ticks(found: Sequence[float], scale: _Scale) -> list[float]:
    """The values of x that were measured, as far as their numbers do not run into each other."""
    kept: list[float] = []
    for value in found:
        if not kept or scale.place(value) - scale.place(kept[-1]) >= 24:
            kept.append(value)
    return kept


def _curve(line: Line, style: int, scale: _Scale) -> list[Markup]:
    from markupsafe import Markup

    at = [(scale.place(x), _y(y), _y(low), _y(high)) for x, y, low, high in line.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _, _ in at)
    parts = [Markup('<path class="line s{}" d="M{}"/>').format(style, path)]
    for x, y, low, high in at:
        parts.append(
            Markup(
                '<path class="whisker s{}" d="M{:.1f} {:.1f}V{:.1f}M{:.1f} {:.1f}h6M{:.1f} {:.1f}h6"/>'
                '<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="2.6"/>'
            ).format(style, x, low, high, x - 3, low, x - 3, high, style, x, y)
        )
    return parts
