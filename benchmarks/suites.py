"""Suites: named, versioned, immutable tuples of trials. A suite that has been released never changes; a better one
gets the next version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from adversarial.errors import UnknownName


NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """One trial as data.

    task, attack: registered names. threat: a threat's string, or `none` for the clean pass. params: what differs from
    the attack's own defaults. goal: `flip`, `worst` or `target`. batch_size: rows at once; it is part of a cell's
    identity. queue: batches that are loaded together, so that waiting rows take the places of those that are done.
    curve: further budgets, as shares of the threat's own.
    """

    task: str
    attack: str
    threat: str
    params: Mapping[str, Any] = field(default_factory=dict)
    goal: str = "flip"
    batch_size: int = 64
    seed: int = 0
    queue: int = 1
    curve: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite. ranking_threats: the threat that ranks each task. unrealisable: threats that no attacker outside of the
    model can carry out; shown, never ranked. timeout_seconds: of one cell."""

    name: str
    summary: str
    trials: tuple[TrialSpec, ...]
    ranking_threats: Mapping[str, str]
    unrealisable: tuple[str, ...] = ()
    timeout_seconds: float = 600.0


def _trials(
    task: str, threat: str, attacks: Mapping[str, Mapping[str, Any]], goal: str, batch_size: int
) -> Iterable[TrialSpec]:
    for attack, params in attacks.items():
        access = "none" if attack == "noise" else "gradient"
        yield TrialSpec(task, attack, f"{threat}@{access}", MappingProxyType(dict(params)), goal, batch_size)


_SIGN: Final[Mapping[str, Any]] = {"distribution": "sign"}
_PGD: Final[Mapping[str, Any]] = {"steps": 20}
# hotflip and the two others are in every task's list: where a pair does not fit, its cell says why.
_CONTINUOUS: Final[Mapping[str, Mapping[str, Any]]] = {"noise": _SIGN, "fgsm": {}, "pgd": _PGD, "hotflip": {}}

_PIXELS = "pixels-linf:0.15"
_WAVEFORM = "waveform-snr:28"
_WORDS = "words-l0:3"
_EMBEDDINGS = "embeddings-l2:1"
_OBSERVATIONS = "observations-linf:0.3"

MINI_1: Final = Suite(
    name="mini@1",
    summary="four tasks, three models each, noise and first white-box attacks; minutes on two cores",
    trials=(
        TrialSpec("image-digits", NONE, NONE, batch_size=200),
        *_trials("image-digits", _PIXELS, _CONTINUOUS, "flip", 200),
        TrialSpec("speech-digits", NONE, NONE, goal="worst", batch_size=32),
        *_trials("speech-digits", _WAVEFORM, _CONTINUOUS, "worst", 32),
        TrialSpec("sentiment-reviews", NONE, NONE, batch_size=64),
        *_trials(
            "sentiment-reviews",
            _WORDS,
            {"noise": {}, "fgsm": {}, "pgd": _PGD, "hotflip-one-step": {}, "hotflip": {}},
            "flip",
            64,
        ),
        *_trials("sentiment-reviews", _EMBEDDINGS, {"noise": _SIGN, "fgsm": {}, "pgd": _PGD}, "flip", 64),
        TrialSpec("control-cartpole", NONE, NONE, batch_size=100),
        *_trials("control-cartpole", _OBSERVATIONS, _CONTINUOUS, "flip", 100),
    ),
    ranking_threats=MappingProxyType(
        {
            "image-digits": _PIXELS,
            "speech-digits": _WAVEFORM,
            "sentiment-reviews": _WORDS,
            "control-cartpole": _OBSERVATIONS,
        }
    ),
    unrealisable=(_EMBEDDINGS,),
)

SUITES: Final[Mapping[str, Suite]] = MappingProxyType({suite.name: suite for suite in (MINI_1,)})


def suite_named(name: str) -> Suite:
    """A suite by `name@version`, or the newest version by its bare name; raises UnknownName."""
    if name in SUITES:
        return SUITES[name]
    versions = [suite for suite in SUITES if suite.split("@")[0] == name]
    if versions:
        return SUITES[max(versions, key=lambda suite: int(suite.split("@")[1]))]
    raise UnknownName.among("suite", name, SUITES)
