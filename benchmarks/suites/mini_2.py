"""The suite `mini@2`: budget curves, the nearest successes, transfer and fitted attacks besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.suites.suite import Suite
from benchmarks.suites.trials import (
    APGDS,
    CURVE,
    CW_SHORT,
    EMBEDDINGS,
    FORCE_0,
    FORCE_1,
    FRAMES,
    OBSERVATIONS,
    PGD,
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
_APGD_SHORT: Final[Mapping[str, Any]] = {"steps": 20}
_CTC_SHORT: Final[Mapping[str, Any]] = {"steps": 60}

SUITE: Final = Suite(
    name="mini@2",
    summary="four tasks, three models each, at most ten attacks a task, with budget curves; minutes on two cores",
    trials=(
        clean(_IMAGE),
        *trials(
            _IMAGE,
            PIXELS,
            {
                "noise": SIGN,
                "pgd": PGD,
                **APGDS,
                "deepfool": {},
                "cw": CW_SHORT,
                "universal": {},
                "transfer": {},
            },
        ),
        *trials(_IMAGE, "pixels-l0:8", {"jsma": {"share": 0.25}}),
        clean(_SPEECH),
        *trials(
            _SPEECH,
            WAVEFORM,
            {
                "noise": SIGN,
                "fgsm": {},
                "pgd": FRAMES,
                "apgd-ce": _APGD_SHORT,
                "universal": {},
                "transfer": {},
                "cw-ctc": _CTC_SHORT,
            },
        ),
        clean(_TEXT),
        *trials(
            _TEXT,
            WORDS,
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
        *trials(_TEXT, EMBEDDINGS, {"noise": SIGN, "pgd": PGD, "transfer": {}}),
        clean(_CONTROL),
        *trials(
            _CONTROL,
            OBSERVATIONS,
            {"noise": SIGN, "fgsm": {}, "apgd-dlr": {"steps": 10}, "deepfool": {}, "universal": {}, "transfer": {}},
        ),
        *trials(_CONTROL, OBSERVATIONS, {"pgd": {"steps": 10}, **FORCE_0}),
        *trials(_CONTROL, OBSERVATIONS, FORCE_1),
        *trials(_CONTROL, "observations-l0:2", {"jsma": {"share": 1.0}}),
    ),
    ranking_threats=RANKING_THREATS,
    unrealisable=(EMBEDDINGS,),
)
