"""Line charts as SVG text: axes, 95% intervals, and a title and a description for those who do not see them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal, NamedTuple


if TYPE_CHECKING:
    from markupsafe import Markup


WIDTH: Final = 460
HEIGHT: Final = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 60.0, 20.0, 12.0, 44.0
_STYLES: Final = 6
_APART: Final = 34.0  # of the numbers of x at least, as they are on a phone
_ZERO: Final = 44.0  # of a logarithmic axis, left of its lowest power


class Line(NamedTuple):
    """One curve. points: x, quality in [0, 1], and the ends of its interval, by rising x.

    drawn: as a line, as steps that hold a value until the next, or as dots that are not joined.
    """

    name: str
    points: tuple[tuple[float, float, float, float], ...]
    drawn: Literal["line", "steps", "dots"] = "line"


def line_chart(title: str, x_label: str, y_label: str, lines: Sequence[Line], *, log: bool = False) -> Markup:
    """A figure of curves from 0 to 1. log: whether x is shown by its logarithm, and 0 left of all the rest."""
    from markupsafe import Markup, escape

    found = sorted({point[0] for line in lines for point in line.points})
    scale = _log_scale(found) if log else _Scale(0.0, found[-1])
    ticks = _powers(scale) if log else found
    mark = hashlib.sha256(repr((title, lines)).encode()).hexdigest()[:12]
    parts = [
        Markup(
            '<figure class="chart"><svg viewBox="0 0 {} {}" role="img" aria-labelledby="t{} d{}">'
            '<title id="t{}">{}</title><desc id="d{}">{}</desc>'
        ).format(WIDTH, HEIGHT, mark, mark, mark, title, mark, described(x_label, lines)),
        *(_y_tick(value) for value in (0.0, 0.25, 0.5, 0.75, 1.0)),
        *(_x_tick(value, scale) for value in _apart(ticks, scale)),
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
            Markup('<li><svg class="swatch" viewBox="0 0 28 8" aria-hidden="true">{}</svg>{}</li>').format(
                _swatch(line, number % _STYLES), line.name
            )
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
    """low, high: the ends. log: low is then above 0, and zero says whether a place left of it is kept for 0."""

    low: float
    high: float
    log: bool = False
    zero: bool = False

    def place(self, x: float) -> float:
        left = _LEFT + (_ZERO if self.zero else 0.0)
        span = WIDTH - left - _RIGHT
        if not self.log:
            return left + span * (x - self.low) / ((self.high - self.low) or 1.0)
        if x <= 0:
            return _LEFT + 8
        return left + span * math.log(x / self.low) / (math.log(self.high / self.low) or 1.0)


def _log_scale(found: Sequence[float]) -> _Scale:
    above = [value for value in found if value > 0] or [1.0]
    return _Scale(above[0], above[-1] if above[-1] > above[0] else 10 * above[0], log=True, zero=found[0] <= 0)


def _powers(scale: _Scale) -> list[float]:
    """The powers of ten on a logarithmic axis, and its ends where fewer than two lie on it."""
    exponents = range(math.ceil(math.log10(scale.low)), math.floor(math.log10(scale.high)) + 1)
    powers = [10.0**exponent for exponent in exponents]
    return [*([0.0] if scale.zero else []), *(powers if len(powers) > 1 else sorted({scale.low, *powers, scale.high}))]


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
        '<text class="tick" x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>'
    ).format(x, y, x, y + 15, _number(value))


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1_000 else f"{value / 1e3:.3g}k" if value < 1e6 else f"{value / 1e6:.3g}M"


def _apart(ticks: Sequence[float], scale: _Scale) -> list[float]:
    """The ticks as far as their numbers do not run into each other."""
    kept: list[float] = []
    for value in ticks:
        if not kept or scale.place(value) - scale.place(kept[-1]) >= _APART:
            kept.append(value)
    return kept


def _curve(line: Line, style: int, scale: _Scale) -> list[Markup]:
    from markupsafe import Markup

    at = [(scale.place(x), _y(y), _y(low), _y(high)) for x, y, low, high in line.points]
    parts = []
    if line.drawn != "dots":
        path = f"{at[0][0]:.1f} {at[0][1]:.1f}"
        for x, y, _, _ in at[1:]:
            path += f"H{x:.1f}V{y:.1f}" if line.drawn == "steps" else f"L{x:.1f} {y:.1f}"
        parts.append(Markup('<path class="line s{}" d="M{}"/>').format(style, path))
    for x, y, low, high in at:
        # Dots and the steps below them share their places: only one of them shows its intervals, the other its values.
        if line.drawn != "dots":
            parts.append(
                Markup('<path class="whisker s{}" d="M{:.1f} {:.1f}V{:.1f}M{:.1f} {:.1f}h6M{:.1f} {:.1f}h6"/>').format(
                    style, x, low, high, x - 3, low, x - 3, high
                )
            )
        if line.drawn != "steps":
            parts.append(
                Markup('<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(
                    style, x, y, 3.4 if line.drawn == "dots" else 2.6
                )
            )
    return parts


def _swatch(line: Line, style: int) -> Markup:
    from markupsafe import Markup

    if line.drawn == "dots":
        return Markup('<circle class="dot s{}" cx="14" cy="4" r="2.6"/>').format(style)
    return Markup('<path class="line s{}" d="M0 4H28"/>').format(style)
