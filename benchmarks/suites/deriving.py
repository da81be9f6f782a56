"""A suite's tasks under attacks or a threat of the user's choice: a suite of its own, so a board of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from types import MappingProxyType

from adversarial.entries import AttackEntry
from adversarial.errors import InvalidOption
from adversarial.registry import Registry
from adversarial.threats import Threat
from benchmarks.suites.suite import NONE, Suite, TrialSpec


def attacked_by(suite: Suite, registry: Registry, attacks: Sequence[AttackEntry], threat: str = "") -> Suite:
    """The clean passes of a suite's tasks, and these attacks on each task that they fit, under its ranking threat.

    threat: in place of the ranking threats; only the tasks that are attacked there are left. The suite is named after
    attacks and threat. Raises InvalidOption where nothing fits, InvalidThreat and UnknownName.
    """
    given = registry.threat(threat) if threat else None
    trials: list[TrialSpec] = []
    ranking: dict[str, str] = {}
    reasons: list[str] = []
    for name, own in suite.ranking_threats.items():
        task, reached = registry.task(name), given or registry.threat(own)
        if reached.surface not in task.surfaces:
            reasons.append(f"{name} is not attacked on {reached.surface}")
            continue
        lacks = [registry.misfit(attack, reached, task) for attack in attacks]
        reasons += [f"{name}: {reason}" for reason in lacks if reason]
        fitting = [attack for attack, reason in zip(attacks, lacks, strict=True) if not reason]
        if fitting:
            trials += [trial for trial in suite.trials if trial.task == name and trial.threat == NONE]
            trials += [suite.trial(name, attack, reached) for attack in fitting]
            ranking[name] = reached.place
    if not ranking:
        raise InvalidOption(f"nothing of {suite.name} is left to attack: {'; '.join(dict.fromkeys(reasons))}")
    return replace(
        suite,
        name="+".join([suite.name, *(attack.name for attack in attacks), *([_plain(given)] if given else [])]),
        trials=tuple(trials),
        ranking_threats=MappingProxyType(ranking),
        unrealisable=tuple(place for place in ranking.values() if place in suite.unrealisable),
    )


def _plain(threat: Threat) -> str:
    """A threat as part of a board's name, which is a file's name, too."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", threat.place)
