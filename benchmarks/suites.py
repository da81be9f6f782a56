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


_ACCESS: Final = {"noise": "none", "transfer": "surrogate", "greedy-words": "scores"}  # else gradient


@dataclass(frozen=True, slots=True)
class _Setting:
    """How a task is attacked in a suite: goal, rows at once, batches loaded together."""

    task: str
    goal: str
    batch_size: int
    queue: int = 1


def _clean(setting: _Setting) -> TrialSpec:
    return TrialSpec(setting.task, NONE, NONE, goal=setting.goal, batch_size=setting.batch_size)


def _trials(setting: _Setting, threat: str, attacks: Mapping[str, Mapping[str, Any]]) -> Iterable[TrialSpec]:
    for attack, params in attacks.items():
        target, given = f"{threat}@{_ACCESS.get(attack, 'gradient')}", MappingProxyType(dict(params))
        yield TrialSpec(setting.task, attack, target, given, setting.goal, setting.batch_size)


_SIGN: Final[Mapping[str, Any]] = {"distribution": "sign"}
_PGD: Final[Mapping[str, Any]] = {"steps": 20}
_APGD: Final[Mapping[str, Any]] = {"steps": 50}
# On cross-entropy and on two losses that the scale of the logits does not change: each is blind where another is not.
_APGDS: Final[Mapping[str, Mapping[str, Any]]] = {"apgd-ce": _APGD, "apgd-dlr": _APGD, "apgd-t": _APGD}
# The likelihood of the right words falls wherever one word is wrong; frame margins turn to those that are still right.
_FRAMES: Final[Mapping[str, Any]] = {"steps": 20, "loss": "frame-margin"}
_FORCE_0, _FORCE_1 = ({"force": {"action": action}} for action in range(2))  # an episode counts with its worst

_PIXELS = "pixels-linf:0.15"
_WAVEFORM = "waveform-snr:28"
_WORDS = "words-l0:3"
_EMBEDDINGS = "embeddings-l2:1"
_OBSERVATIONS = "observations-linf:0.3"

_IMAGE_1: Final = _Setting("image-digits", "flip", 200)
_SPEECH: Final = _Setting("speech-digits", "worst", 32)
_TEXT_1: Final = _Setting("sentiment-reviews", "flip", 64)
_CONTROL: Final = _Setting("control-cartpole", "flip", 100)
_GIVEN: Final = {"noise": _SIGN, "fgsm": {}, "pgd": _PGD}

MINI_1: Final = Suite(
    name="mini@1",
    summary="four tasks, three models each, noise and the strongest cheap searches; minutes on two cores",
    trials=(
        _clean(_IMAGE_1),
        # hotflip and others are in every task's list: where a pair does not fit, its cell says why.
        *_trials(_IMAGE_1, _PIXELS, {**_GIVEN, **_APGDS, "hotflip": {}}),
        _clean(_SPEECH),
        *_trials(_SPEECH, _WAVEFORM, {**_GIVEN, "pgd": _FRAMES, "apgd-ce": {"steps": 20}, "hotflip": {}}),
        _clean(_TEXT_1),
        *_trials(_TEXT_1, _WORDS, {**_GIVEN, "noise": {}, "hotflip-one-step": {}, "hotflip": {}, "greedy-words": {}}),
        *_trials(_TEXT_1, _EMBEDDINGS, _GIVEN),
        _clean(_CONTROL),
        *_trials(_CONTROL, _OBSERVATIONS, {**_GIVEN, "apgd-dlr": {"steps": 10}, **_FORCE_0, "hotflip": {}}),
        *_trials(_CONTROL, _OBSERVATIONS, _FORCE_1),
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

# What mini@2 and full@1 ask of a continuous attack at once: its quality at these shares of the budget, too.
_CURVE: Final = (0.25, 0.5, 2.0)


_IMAGE: Final = _Setting("image-digits", "flip", 100, queue=4)
_TEXT: Final = _Setting("sentiment-reviews", "flip", 64, queue=4)

_GOALS: Final = {"cw-ctc": "target"}
# Attacks that are measured at several budgets: those that look for the nearest success say it without another pass.
_CURVED: Final = frozenset(
    {"noise", "pgd", "force", "hotflip", "greedy-words", "deepfool", "cw", "cw-ctc", "jsma", "jsma-words"}
)


def _specs(setting: _Setting, threat: str, attacks: Mapping[str, Mapping[str, Any]]) -> Iterable[TrialSpec]:
    for attack, params in attacks.items():
        yield TrialSpec(
            setting.task,
            attack,
            f"{threat}@{_ACCESS.get(attack, 'gradient')}",
            MappingProxyType(dict(params)),
            _GOALS.get(attack, setting.goal),
            setting.batch_size,
            queue=setting.queue,
            curve=_CURVE if attack in _CURVED else (),
        )


_CW_SHORT: Final[Mapping[str, Any]] = {"binary_steps": 4, "steps": 50, "learning_rate": 0.05, "initial_const": 1.0}
_APGD_SHORT: Final[Mapping[str, Any]] = {"steps": 20}
_CTC_SHORT: Final[Mapping[str, Any]] = {"steps": 60}

MINI_2: Final = Suite(
    name="mini@2",
    summary="four tasks, three models each, at most ten attacks a task, with budget curves; minutes on two cores",
    trials=(
        _clean(_IMAGE),
        *_specs(
            _IMAGE,
            _PIXELS,
            {
                "noise": _SIGN,
                "pgd": _PGD,
                **_APGDS,
                "deepfool": {},
                "cw": _CW_SHORT,
                "universal": {},
                "transfer": {},
            },
        ),
        *_specs(_IMAGE, "pixels-l0:8", {"jsma": {"share": 0.25}}),
        _clean(_SPEECH),
        *_specs(
            _SPEECH,
            _WAVEFORM,
            {
                "noise": _SIGN,
                "fgsm": {},
                "pgd": _FRAMES,
                "apgd-ce": _APGD_SHORT,
                "universal": {},
                "transfer": {},
                "cw-ctc": _CTC_SHORT,
            },
        ),
        _clean(_TEXT),
        *_specs(
            _TEXT,
            _WORDS,
            {
                "noise": {},
                "hotflip-one-step": {},
                "hotflip": {},
                "hotflip-beam": {},
                "jsma-words": {},
                "greedy-words": {},
                "trigger-words": {},
                "transfer": {},
            },
        ),
        *_specs(_TEXT, _EMBEDDINGS, {"noise": _SIGN, "pgd": _PGD, "transfer": {}}),
        _clean(_CONTROL),
        *_specs(
            _CONTROL,
            _OBSERVATIONS,
            {"noise": _SIGN, "fgsm": {}, "apgd-dlr": {"steps": 10}, "deepfool": {}, "universal": {}, "transfer": {}},
        ),
        *_specs(_CONTROL, _OBSERVATIONS, {"pgd": {"steps": 10}, **_FORCE_0}),
        *_specs(_CONTROL, _OBSERVATIONS, _FORCE_1),
        *_specs(_CONTROL, "observations-l0:2", {"jsma": {"share": 1.0}}),
    ),
    ranking_threats=MINI_1.ranking_threats,
    unrealisable=(_EMBEDDINGS,),
)

# Every attack on every task; where a pair does not fit, its cell says why.
_STEPPED: Final[Mapping[str, Mapping[str, Any]]] = {
    "noise": _SIGN,
    "fgsm": {},
    "bim": {},
    "mi-fgsm": {},
    "pgd": {"steps": 40},
    "apgd-ce": {"steps": 40},
    "apgd-dlr": {"steps": 40},
    "apgd-t": {"steps": 40},
    "deepfool": {},
    "cw": _CW_SHORT,
    "universal": {},
    "transfer": {},
}
_WORDED: Final[Mapping[str, Mapping[str, Any]]] = {
    "hotflip-one-step": {},
    "hotflip": {},
    "hotflip-beam": {},
    "jsma-words": {},
    "greedy-words": {},
    "trigger-words": {},
}
_FULL: Final = {**_STEPPED, "jsma": {}, **_WORDED, "cw-ctc": {}, "force": {}}
_FULL_CONTROL: Final = {
    **_FULL,
    "pgd": {"steps": 20},
    "apgd-ce": {"steps": 20},
    "apgd-dlr": {"steps": 20},
    "apgd-t": {"steps": 20},
    "cw": {"binary_steps": 3, "steps": 15, "learning_rate": 0.1, "initial_const": 1.0},
}
_OTHER_NORMS: Final = {name: _STEPPED[name] for name in ("noise", "fgsm", "pgd", "apgd-ce", "deepfool", "transfer")}

FULL_1: Final = Suite(
    name="full@1",
    summary="every attack on every task, further norms, budget curves; an hour or more on two cores",
    trials=(
        _clean(_IMAGE),
        *_specs(_IMAGE, _PIXELS, {name: how for name, how in _FULL.items() if name != "jsma"}),
        *_specs(_IMAGE, "pixels-l2:1", {**_OTHER_NORMS, "cw": _CW_SHORT}),
        *_specs(_IMAGE, "pixels-l1:4", _OTHER_NORMS),
        *_specs(_IMAGE, "pixels-l0:8", {"noise": _SIGN, "jsma": {"share": 0.25}}),
        _clean(_SPEECH),
        *_specs(_SPEECH, _WAVEFORM, {**_FULL, "pgd": {**_FRAMES, "steps": 40}}),
        _clean(_TEXT),
        *_specs(_TEXT, _WORDS, _FULL),
        *_specs(_TEXT, _EMBEDDINGS, {**_STEPPED, "jsma": {}}),
        _clean(_CONTROL),
        *_specs(_CONTROL, _OBSERVATIONS, {name: how for name, how in _FULL_CONTROL.items() if name != "jsma"}),
        *_specs(_CONTROL, _OBSERVATIONS, _FORCE_1),
        *_specs(_CONTROL, "observations-l2:0.4", {"noise": _SIGN, "pgd": {"steps": 20}, "deepfool": {}}),
        *_specs(_CONTROL, "observations-l0:2", {"noise": _SIGN, "jsma": {"share": 1.0}}),
    ),
    ranking_threats=MINI_1.ranking_threats,
    unrealisable=(_EMBEDDINGS,),
    timeout_seconds=3600.0,
)

SUITES: Final[Mapping[str, Suite]] = MappingProxyType({suite.name: suite for suite in (MINI_1, MINI_2, FULL_1)})


def suite_named(name: str) -> Suite:
    """A suite by `name@version`, or the newest version by its bare name; raises UnknownName."""
    if name in SUITES:
        return SUITES[name]
    versions = [suite for suite in SUITES if suite.split("@")[0] == name]
    if versions:
        return SUITES[max(versions, key=lambda suite: int(suite.split("@")[1]))]
    raise UnknownName.among("suite", name, SUITES)
