"""Threats: where an attacker may touch, how far, and what it may see."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Final, get_args

from adversarial.entries import Access, Norm
from adversarial.errors import InvalidThreat
from adversarial.surfaces import ENTRIES


NORMS: Final[tuple[str, ...]] = get_args(Norm)
ACCESSES: Final[tuple[str, ...]] = get_args(Access)

BUILT_IN: Final = {surface.name: surface for surface in ENTRIES}

LARGEST: Final = 3.4e38  # number of float32, in which attacks reckon
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)", re.ASCII)

_PATTERN: Final = re.compile(
    r"(?P<surface>[a-z-]+)-(?P<norm>[a-z0-9]+):(?P<budget>[^*@<]+)"
    r"(?:\*(?P<share>[^@<]+))?@(?P<access>[a-z]+)(?:<=(?P<queries>\d+))?"
)


@dataclass(frozen=True, slots=True)
class Threat:
    """What an attacker may do. Its string is its id: `pixels-linf:0.1@gradient`, `waveform-snr:30@scores<=1000`.

    budget: in the norm's unit: input units for linf, l2 and l1 (for observations multiples of the environment's
    fixed scale), a count for l0 (pixels, words), decibels for snr (more is a weaker attacker). inf means unbounded,
    for snr -inf does.
    surface: a registered one; Registry.threat looks it up.
    share: of an episode's steps that may be attacked, 0 < share <= 1. query_limit: answers a row may ask for.
    """

    surface: str
    norm: Norm
    budget: float
    access: Access = "gradient"
    query_limit: int | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        _one_of("norm", self.norm, NORMS)
        _one_of("access", self.access, ACCESSES)
        if math.isnan(self.budget) or (self.norm != "snr" and self.budget < 0):
            raise InvalidThreat(f"budget must be a number of at least 0, got {self.budget}")
        if LARGEST < abs(self.budget) < math.inf:
            raise InvalidThreat(f"budget must be below {LARGEST:g}, or inf where there is no bound, got {self.budget}")
        if self.surface in BUILT_IN:  # those of plugins are looked up where a registry is at hand
            BUILT_IN[self.surface].check_norm(self.norm)
        if not 0 < self.share <= 1:
            raise InvalidThreat(f"share of steps must be in (0, 1], got {self.share}")
        if self.query_limit is not None and not 1 <= self.query_limit < 1 << 63:
            raise InvalidThreat(f"query limit must be at least 1 and fit into 64 bits, got {self.query_limit}")

    def __str__(self) -> str:
        share = "" if self.share == 1 else f"*{_exact(self.share)}"
        queries = "" if self.query_limit is None else f"<={self.query_limit}"
        return f"{self.surface}-{self.norm}:{_exact(self.budget)}{share}@{self.access}{queries}"

    @property
    def place(self) -> str:
        """Surface, norm, budget and share of steps, whatever the attacker may see and ask: what a board ranks by."""
        return str(self).partition("@")[0]

    @property
    def radius(self) -> float:
        """The budget as a distance, so that less is always closer: for snr the ratio of norms 10^(-dB/20)."""
        if self.norm == "snr":
            return math.inf if self.budget < -6000 else float(10.0 ** (-self.budget / 20.0))
        return self.budget

    @classmethod
    def parse(cls, text: str) -> Threat:
        """The inverse of str. A text without `@access` means gradient access; a budget may be a fraction, `8/255`.

        Raises InvalidThreat, saying the expected form, and for a budget beyond the surface's whole range.
        """
        if not isinstance(text, str):
            raise InvalidThreat(f"a threat is a text like pixels-linf:0.1@gradient, got {text!r:.80}")
        found = _PATTERN.fullmatch(text if "@" in text else text + "@gradient")
        if found is None:
            raise InvalidThreat(
                f"cannot read threat {text!r}; expected surface-norm:budget@access, like pixels-linf:0.1@gradient"
            )
        try:
            budget, share = _number(found["budget"]), _number(found["share"] or "1")
        except (ValueError, ZeroDivisionError) as error:
            raise InvalidThreat(f"cannot read threat {text!r}: {error}") from None
        queries = int(found["queries"]) if found["queries"] else None
        threat = cls(found["surface"], found["norm"], budget, found["access"], queries, share)  # type: ignore[arg-type]
        if threat.surface in BUILT_IN:
            BUILT_IN[threat.surface].check_budget(threat.norm, threat.budget)
        return threat

    def with_access(self, access: Access) -> Threat:
        return replace(self, access=access)

    def on_surrogates(self) -> Threat:
        """The same perturbations on models of the attacker's own: gradients, and as many queries as it likes."""
        return replace(self, access="gradient", query_limit=None)

    def scaled(self, factor: float) -> Threat:
        """The same threat at factor times the distance (for snr: 20 log10(factor) dB lower), to 12 digits."""
        if self.norm == "snr":
            budget = self.budget - 20 * math.log10(factor) if factor else math.inf
        else:
            budget = self.budget * factor if factor else 0.0  # not inf * 0
        return replace(self, budget=float(f"{budget:.12g}"))


def _number(text: str) -> float:
    """A number or a fraction of two."""
    numerator, slash, denominator = text.partition("/")
    for part in (numerator, denominator) if slash else (numerator,):
        if _NUMBER.fullmatch(part) is None:
            raise ValueError(f"could not convert {part!r} to a number")
        if math.isinf(float(part)) and "inf" not in part:
            raise ValueError(f"{part} is beyond all numbers; write inf where there is no bound")
    return float(numerator) / float(denominator) if slash else float(numerator)


def _exact(number: float) -> str:
    """The shortest text that reads back as the same number: another number would be another id."""
    return repr(float(number) + 0.0).removesuffix(".0")  # + 0.0: there is one zero


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidThreat(f"unknown {what} {value!r}; expected one of {', '.join(known)}")
