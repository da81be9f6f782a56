"""What can be registered: torch-free data that names its code, or holds it.

`code` is a callable or `module:name`, which is imported when it is first used. What a function's parameters are by
default stands in its signature alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, get_args

from adversarial.errors import DataError, InvalidThreat


Code = str | Callable[..., Any]
Norm = Literal["linf", "l2", "l1", "l0", "snr"]
Access = Literal["gradient", "scores", "labels", "none", "surrogate"]
Stage = Literal["test", "fit", "train", "native", "wrap", "detect"]

# What an attack may need of a surface or of a task's answers, in words for the board where it is not there.
NEEDS: Final[Mapping[str, str]] = {
    "steps": "a surface that can be stepped along a gradient, and words cannot",
    "candidates": "words or other choices, with candidates to replace them",
    "bounds": "features with ends of their range",
    "classes": "the scores of one decision among classes",
    "transcripts": "a model that writes transcripts",
    "episodes": "an episode, in which one action is wanted at all steps",
}
ANSWERS: Final = frozenset({"classes", "transcripts", "episodes"})  # of these needs, what a task's answers offer


@dataclass(frozen=True, slots=True)
class SurfaceEntry:
    """Where an attacker may touch.

    norms: that bound a perturbation there. unit: of a budget, in words. offers: which needs of attacks it meets, and
    which answers the tasks that are attacked there may give. realisable: whether an attacker outside of the model can
    carry it out; what is not never ranks. code: a function from (inputs, threat) to a Space; empty
    where a space needs more than these. largest: by norm, the budget that spans the whole range.
    """

    kind: ClassVar[str] = "surface"

    name: str
    summary: str
    norms: tuple[str, ...]
    unit: str
    offers: frozenset[str]
    code: Code = ""
    largest: Mapping[str, float] = field(default_factory=dict)
    realisable: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z]+(-[a-z]+)*", self.name) or not set(self.norms) <= set(get_args(Norm)):
            raise DataError(
                f"surface {self.name}: expected a name of small letters and -, and norms of "
                f"{', '.join(get_args(Norm))}, got {', '.join(self.norms)}"
            )
        _check_needs(self.name, self.offers)

    def check_norm(self, norm: str) -> None:
        """Raises InvalidThreat for a norm that bounds nothing here."""
        if norm not in self.norms:
            units = " or ".join(f"{self.name}-{one}" for one in self.norms)
            raise InvalidThreat(f"{self.name} cannot be bounded by {norm}, in {self.unit}; use {units}")

    def check_budget(self, norm: str, budget: float) -> None:
        """Raises InvalidThreat beyond the whole range: such a budget is nearly always a slip, `8` for `8/255`."""
        if self.largest.get(norm, math.inf) < budget < math.inf:
            raise InvalidThreat(
                f"a budget of {budget:g} is beyond the whole range of {self.name}, {self.largest[norm]:g}; "
                f"for levels of 255 write {self.name}-{norm}:{budget:g}/255, for no bound {self.name}-{norm}:inf"
            )


@dataclass(frozen=True, slots=True)
class AttackEntry:
    """An attack and what it needs.

    code: of the stage `test` a function of a Problem, of `fit` one of the fit split's problems that returns the attack.
    access: what it asks of the model: gradient, scores, labels, none, or surrogate. needs: of NEEDS. params: what
    differs from the function's own defaults. goal: what is searched for, the task's own where it is empty.
    minimum_norm: whether it looks for the nearest success: it then runs
    without a bound, and counts where its distance is within the budget.
    """

    kind: ClassVar[str] = "attack"

    name: str
    code: Code
    summary: str
    access: Access
    needs: frozenset[str] = frozenset()
    paper: str = ""
    stage: Stage = "test"
    params: Mapping[str, Any] = field(default_factory=dict)
    goal: str = ""
    minimum_norm: bool = False

    def __post_init__(self) -> None:
        _check_needs(self.name, self.needs)
        if self.access not in get_args(Access):
            raise DataError(f"attack {self.name}: access is one of {', '.join(get_args(Access))}, not {self.access!r}")

    def lacks(self, offered: frozenset[str]) -> str:
        """Why the attack does not run where `offered` is all that there is; empty where it does."""
        return _lacks(self.name, self.needs, offered)


@dataclass(frozen=True, slots=True)
class DefenseEntry:
    """A defense. code: of the stage `train` a function from a Problem to a perturbation of a training batch.

    needs: of NEEDS. params: what differs from the function's own defaults.
    """

    kind: ClassVar[str] = "defense"

    name: str
    code: Code
    summary: str
    stage: Stage = "train"
    needs: frozenset[str] = frozenset()
    paper: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_needs(self.name, self.needs)

    def lacks(self, offered: frozenset[str]) -> str:
        """Why nothing is hardened with it where `offered` is all that there is; empty where it is."""
        return _lacks(self.name, self.needs, offered)


@dataclass(frozen=True, slots=True)
class Pace:
    """What a task's cells take before any was measured: seconds of each cell, and of each unit of effort on `rows`
    examples. Their proportions are what counts: the machine's own pace is learned."""

    cell: float = 0.1
    effort: float = 0.1
    rows: int = 300


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """A task and what it offers.

    code: a function without arguments that makes the task (tasks.measuring.protocol.Task). data_hash: a torch-free
    function from a split's name to the SHA-256 of its data. surfaces: where it can be attacked. answers: of ANSWERS.
    models: its reference models, each a folder under `folder`. libraries: whose versions change its numbers, and so
    are part of a cell's id. loaders: by kind of source, how this task reads models that not every task reads alike.
    custom_data: the task made of a user's own data (tasks.data.CustomData); preparing: how such data are read
    (tasks.data.preparing.Preparing); both empty where it takes none. clean_examples: a torch-free function from (cell,
    disturbed examples by id, custom data or None) to the examples as they were before (leaderboard.records.examples),
    for pages; empty where nothing is shown.
    """

    kind: ClassVar[str] = "task"

    name: str
    code: Code
    data_hash: Code
    summary: str
    surfaces: tuple[str, ...]
    models: tuple[str, ...]
    folder: str
    answers: frozenset[str] = frozenset({"classes"})
    libraries: tuple[str, ...] = ("torch", "numpy")
    loaders: Mapping[str, Code] = field(default_factory=dict)
    custom_data: Code = ""
    preparing: Code = ""
    clean_examples: Code = ""
    pace: Pace = field(default_factory=Pace)


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A kind of model source, `name:LOCATION`.

    code: a function from (source, task entry, device, custom data or None) to a LoadedModel; empty where each task's
    entry names its own loader. attribute: whether the location may or must be followed by one more part, `:NAME`.
    carried: whether bundles hold such models, as safetensors, JSON and text, for whoever verifies them.
    """

    kind: ClassVar[str] = "kind of model"

    name: str
    summary: str
    code: Code = ""
    attribute: Literal["", "optional", "required"] = ""
    carried: bool = False


@dataclass(frozen=True, slots=True)
class ExecutorEntry:
    """Who measures cells. code: a function from a number of workers, or None, to an Executor."""

    kind: ClassVar[str] = "executor"

    name: str
    code: Code
    summary: str


def _check_needs(name: str, needs: object) -> None:
    """Raises DataError for needs that nobody knows: an attack would then run everywhere, or nowhere."""
    if not isinstance(needs, (frozenset, set)) or not needs <= NEEDS.keys():
        raise DataError(f"{name}: needs are a set of {', '.join(NEEDS)}, got {needs!r:.80}")


def _lacks(name: str, needs: frozenset[str], offered: frozenset[str]) -> str:
    missing = [need for need in NEEDS if need in needs - offered]
    return f"{name} needs {NEEDS[missing[0]]}" if missing else ""
