"""Trials of the suites that ship: how each task is attacked, and the parameters that they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from benchmarks.suites.suite import NONE, TrialSpec


ACCESS: Final = {"noise": "none", "transfer": "surrogate", "greedy-words": "scores"}  # else gradient
GOALS: Final = {"cw-ctc": "target"}  # else the task's own
# Attacks that are measured at several budgets: those that look for the nearest success say it without another pass.
CURVED: Final = frozenset(
    {"noise", "pgd", "force", "hotflip", "greedy-words", "deepfool", "cw", "cw-ctc", "jsma", "jsma-words"}
)
CURVE: Final = (0.25, 0.5, 2.0)  # shares of the budget that they are measured at, too

Attacks = Mapping[str, Mapping[str, Any]]  # their parameters, by name


@dataclass(frozen=True, slots=True)
class Setting:
    """How a task is attacked in a suite: goal, rows at once, batches loaded together, shares of the budget beside 1."""

    task: str
    goal: str
    batch_size: int
    queue: int = 1
    curve: tuple[float, ...] = ()


def clean(setting: Setting) -> TrialSpec:
    """The clean pass."""
    return TrialSpec(setting.task, NONE, NONE, goal=setting.goal, batch_size=setting.batch_size)


def trials(setting: Setting, threat: str, attacks: Attacks) -> Iterable[TrialSpec]:
    """A trial for each attack. threat: without its access, which is the attack's."""
    for attack, params in attacks.items():
        yield TrialSpec(
            setting.task,
            attack,
            f"{threat}@{ACCESS.get(attack, 'gradient')}",
            MappingProxyType(dict(params)),
            GOALS.get(attack, setting.goal),
            setting.batch_size,
            queue=setting.queue,
            curve=setting.curve if attack in CURVED else (),
        )


SIGN: Final[Mapping[str, Any]] = {"distribution": "sign"}
PGD: Final[Mapping[str, Any]] = {"steps": 20}
APGD: Final[Mapping[str, Any]] = {"steps": 50}
# On cross-entropy and on two losses that the scale of the logits does not change: each is blind where another is not.
APGDS: Final[Mapping[str, Mapping[str, Any]]] = {"apgd-ce": APGD, "apgd-dlr": APGD, "apgd-t": APGD}
# The likelihood of the right words falls wherever one word is wrong; frame margins turn to those that are still right.
FRAMES: Final[Mapping[str, Any]] = {"steps": 20, "loss": "frame-margin"}
FORCE_0, FORCE_1 = ({"force": {"action": action}} for action in range(2))  # an episode counts with its worst

PIXELS = "pixels-linf:0.15"
WAVEFORM = "waveform-snr:28"
WORDS = "words-l0:3"
EMBEDDINGS = "embeddings-l2:1"
OBSERVATIONS = "observations-linf:0.3"
CW_SHORT: Final[Mapping[str, Any]] = {"binary_steps": 4, "steps": 50, "learning_rate": 0.05, "initial_const": 1.0}

RANKING_THREATS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "image-digits": PIXELS,
        "speech-digits": WAVEFORM,
        "sentiment-reviews": WORDS,
        "control-cartpole": OBSERVATIONS,
    }
)
