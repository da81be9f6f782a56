"""What a suite is: a named, versioned, immutable tuple of trials. One that has been released never changes; a better
one gets the next version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption
from adversarial.registry import Registry
from adversarial.threats import Threat


NONE: Final = "none"
_NAME: Final = re.compile(r"[A-Za-z0-9_.]+@[0-9]+(\+[A-Za-z0-9_.@+<=*-]+)?")  # what follows + are attacks and a threat


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

    kind: ClassVar[str] = "suite"

    name: str
    summary: str
    trials: tuple[TrialSpec, ...]
    ranking_threats: Mapping[str, str]
    unrealisable: tuple[str, ...] = ()
    timeout_seconds: float = 600.0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidOption(f"a suite is called NAME@VERSION, such as mini@2, not {self.name!r:.80}")

    def trial(
        self, task: str, attack: AttackEntry, threat: Threat, params: Mapping[str, Any] | None = None, seed: int = 0
    ) -> TrialSpec:
        """A further trial of a task as the suite's own are run: its goal, unless the attack has one, and as many rows
        at once."""
        own = [trial for trial in self.trials if trial.task == task]
        like = next((trial for trial in own if trial.threat != NONE), own[0])
        reached = str(threat.with_access(attack.access))
        return TrialSpec(
            task, attack.name, reached, dict(params or {}), attack.goal or like.goal, like.batch_size, seed
        )


def suite_named(registry: Registry, name: str) -> Suite:
    """A suite by `name@version`, or the newest version by its bare name; raises UnknownName."""
    suites = {suite.name: suite for suite in registry.all(Suite)}
    versions = [suite for suite in suites if suite.partition("@")[0] == name]
    if name not in suites and versions:
        return suites[max(versions, key=lambda suite: int(suite.partition("@")[2]))]
    return registry.find(Suite, name)
