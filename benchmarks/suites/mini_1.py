"""The suite `mini@1`, which `make bench` runs."""

from __future__ import annotations

from typing import Final

from benchmarks.suites.suite import Suite
from benchmarks.suites.trials import (
    APGDS,
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


_IMAGE: Final = Setting("image-digits", "flip", 200)
_SPEECH: Final = Setting("speech-digits", "worst", 32)
_TEXT: Final = Setting("sentiment-reviews", "flip", 64)
_CONTROL: Final = Setting("control-cartpole", "flip", 100)
_GIVEN: Final = {"noise": SIGN, "fgsm": {}, "pgd": PGD}

SUITE: Final = Suite(
    name="mini@1",
    summary="four tasks, three models each, noise and the strongest cheap searches; minutes on two cores",
    trials=(
        clean(_IMAGE),
        # hotflip and others are in every task's list: where a pair does not fit, its cell says why.
        *trials(_IMAGE, PIXELS, {**_GIVEN, **APGDS, "hotflip": {}}),
        clean(_SPEECH),
        *trials(_SPEECH, WAVEFORM, {**_GIVEN, "pgd": FRAMES, "apgd-ce": {"steps": 20}, "hotflip": {}}),
        clean(_TEXT),
        *trials(_TEXT, WORDS, {**_GIVEN, "noise": {}, "hotflip-one-step": {}, "hotflip": {}, "greedy-words": {}}),
        *trials(_TEXT, EMBEDDINGS, _GIVEN),
        clean(_CONTROL),
        *trials(_CONTROL, OBSERVATIONS, {**_GIVEN, "apgd-dlr": {"steps": 10}, **FORCE_0, "hotflip": {}}),
        *trials(_CONTROL, OBSERVATIONS, FORCE_1),
    ),
    ranking_threats=RANKING_THREATS,
    unrealisable=(EMBEDDINGS,),
)
