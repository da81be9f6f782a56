"""The suite `full@1`: every attack on every task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.suites.suite import Suite
from benchmarks.suites.trials import (
    CURVE,
    CW_SHORT,
    EMBEDDINGS,
    FORCE_1,
    FRAMES,
    OBSERVATIONS,
    PIXELS,
    RANKING_THREATS,
    SIGN,
    WAVEFORM,
    WORDS,
    Setting,
    clean,
    trials,
)


_IMAGE: Final = Setting("image-digits", "flip", 100, queue=4, curve=CURVE)
_TEXT: Final = Setting("sentiment-reviews", "flip", 64, queue=4, curve=CURVE)
_SPEECH: Final = Setting("speech-digits", "worst", 32, curve=CURVE)
_CONTROL: Final = Setting("control-cartpole", "flip", 100, curve=CURVE)

# Every attack on every task; where a pair does not fit, its cell says why.
_STEPPED: Final[Mapping[str, Mapping[str, Any]]] = {
    "noise": SIGN,
    "fgsm": {},
    "bim": {},
    "mi-fgsm": {},
    "pgd": {"steps": 40},
    "apgd-ce": {"steps": 40},
    "apgd-dlr": {"steps": 40},
    "apgd-t": {"steps": 40},
    "deepfool": {},
    "cw": CW_SHORT,
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

SUITE: Final = Suite(
    name="full@1",
    summary="every attack on every task, further norms, budget curves; an hour or more on two cores",
    trials=(
        clean(_IMAGE),
        *trials(_IMAGE, PIXELS, {name: how for name, how in _FULL.items() if name != "jsma"}),
        *trials(_IMAGE, "pixels-l2:1", {**_OTHER_NORMS, "cw": CW_SHORT}),
        *trials(_IMAGE, "pixels-l1:4", _OTHER_NORMS),
        *trials(_IMAGE, "pixels-l0:8", {"noise": SIGN, "jsma": {"share": 0.25}}),
        clean(_SPEECH),
        *trials(_SPEECH, WAVEFORM, {**_FULL, "pgd": {**FRAMES, "steps": 40}}),
        clean(_TEXT),
        *trials(_TEXT, WORDS, _FULL),
        *trials(_TEXT, EMBEDDINGS, {**_STEPPED, "jsma": {}}),
        clean(_CONTROL),
        *trials(_CONTROL, OBSERVATIONS, {name: how for name, how in _FULL_CONTROL.items() if name != "jsma"}),
        *trials(_CONTROL, OBSERVATIONS, FORCE_1),
        *trials(_CONTROL, "observations-l2:0.4", {"noise": SIGN, "pgd": {"steps": 20}, "deepfool": {}}),
        *trials(_CONTROL, "observations-l0:2", {"noise": SIGN, "jsma": {"share": 1.0}}),
    ),
    ranking_threats=RANKING_THREATS,
    unrealisable=(EMBEDDINGS,),
    timeout_seconds=3600.0,
)
