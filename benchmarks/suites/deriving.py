"""A suite's tasks under attacks or a threat of the user's choice: a suite of its own, so a board of its own."""

from __future__ import annotations

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

    threat: in place of the ranking threats; only the tasks that are attacked there are left, and where it names an
    access, only the attacks that ask for no more. The suite is named after attacks and threat. Raises InvalidOption
    where nothing fits or nothing may rank, InvalidThreat and UnknownName.
    """
    given = registry.threat(threat) if threat else None
    if given is not None and not registry.surface_of(given).realisable:
        raise InvalidOption(
            f"no attacker outside of a model can change its {given.surface}, so nothing is ranked there; measure it "
            "from Python: robustarena.attack(...)"
        )
    trials: list[TrialSpec] = []
    ranking: dict[str, str] = {}
    reasons: list[str] = []
    for name, own in suite.ranking_threats.items():
        task, reached = registry.task(name), given or registry.threat(own)
        if reached.surface not in task.surfaces:
            reasons.append(f"{name} is not attacked on {reached.surface}")
            continue
        lacks = [
            registry.misfit(attack, reached, task) or (_denied(attack, reached) if "@" in threat else "")
            for attack in attacks
        ]
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


def _denied(attack: AttackEntry, threat: Threat) -> str:
    """Why an attack asks for more than a threat allows; empty where it does not."""
    allowed = {"none", threat.access}
    return "" if attack.access in allowed else f"{attack.name} asks for {attack.access}, and {threat} does not allow it"


def _plain(threat: Threat) -> str:
    """A threat as part of a board's name, which is a file's name, too: no two threats have one name."""
    queries = "" if threat.query_limit is None else f"-within-{threat.query_limit}"
    return threat.place.replace(":-", "-minus-").replace(":", "-").replace("*", "-share-") + queries
