"""Reasons to distrust a number, found in one record or between two, and the verdict that they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, get_args

import msgspec

from leaderboard.records.record import OF_OTHERS, Cell, Result, Severity
from leaderboard.records.threats import access_of, without_access
from leaderboard.scoring.statistics import difference, sample


Reliability = Literal["reliable", "suspect", "invalid"]

WEAKER_THAN_NOISE: Final = "gradient-weaker-than-noise"
STRONGER_THAN_WHITE_BOX: Final = "transfer-beats-white-box"
SEARCHING: Final = frozenset({"gradient", "scores", "labels"})  # access of attacks that ask the model
FITTED: Final = "fit_split"  # option of cells whose attack is learned on other examples
# Quality by which a gradient attack may trail noise before it counts as broken and not as unlucky.
NOISE_MARGIN: Final = 0.02


class EntryFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A diagnostic of an entry, and the cell that it was found in."""

    task: str
    entry: str
    attack: str
    threat: str
    name: str
    severity: Severity
    detail: str


def verdict_of(findings: Iterable[EntryFinding]) -> Reliability:
    """The worst severity found; `reliable` where there is none."""
    severities = {finding.severity for finding in findings}
    return "invalid" if "invalid" in severities else "suspect" if "suspect" in severities else "reliable"


def worst_verdict(verdicts: Iterable[Reliability]) -> Reliability:
    """The gravest of several; `reliable` where there is none."""
    return max(verdicts, key=get_args(Reliability).index, default="reliable")


def find(results: Sequence[Result]) -> tuple[EntryFinding, ...]:
    """Every diagnostic of one entry on one task: those of the records, then those found between records."""
    own = [
        _finding(result, diagnostic.name, diagnostic.severity, diagnostic.detail)
        for result in results
        for diagnostic in result.diagnostics
    ]
    found = [*own, *_weaker_than_noise(results), *_weaker_than_transfer(results)]
    return tuple(sorted(set(found), key=msgspec.structs.astuple))


def is_noise(attack: str) -> bool:
    """Whether the attack is the random baseline: `noise` or a kind of it, such as `noise-gaussian`."""
    return attack == "noise" or attack.startswith("noise-")


def is_search(cell: Cell) -> bool:
    """Whether the attack looks for the worst of each example and asks the model itself on the way: by gradients,
    scores or decisions. Noise and transfer never ask; a perturbation for everybody is fitted on other examples; what
    others found against an entry lowers its number and completes nothing."""
    return access_of(cell.threat) in SEARCHING and not cell.options.keys() & {FITTED, OF_OTHERS}


def _weaker_than_noise(results: Sequence[Result]) -> list[EntryFinding]:
    noises = [one for one in results if is_noise(one.cell.attack) and access_of(one.cell.threat) == "none"]
    # One perturbation for everybody, and one that wants a certain answer, may well do less harm than noise.
    attacks = [
        one
        for one in results
        if access_of(one.cell.threat) == "gradient" and one.cell.goal != "target" and FITTED not in one.cell.options
    ]
    found = []
    for attack in attacks:
        for noise in noises:
            if without_access(attack.cell.threat) != without_access(noise.cell.threat):
                continue
            if attack.metric is None or attack.examples is None or noise.examples is None:
                continue
            under_attack = sample(attack.cell.task, attack.metric, attack.examples)
            under_noise = sample(attack.cell.task, attack.metric, noise.examples)
            if under_attack.quality - under_noise.quality <= NOISE_MARGIN:
                continue
            if difference([under_attack], [under_noise]).separable == 1:
                detail = (
                    f"leaves a quality of {under_attack.quality:.3f}, {noise.cell.attack} of equal budget "
                    f"{under_noise.quality:.3f}: the gradient is not followed, or it is masked"
                )
                found.append(_finding(attack, WEAKER_THAN_NOISE, "suspect", detail))
    return found


def _weaker_than_transfer(results: Sequence[Result]) -> list[EntryFinding]:
    """Examples made on other models that do more harm than every search on the model itself: its gradients lie."""
    found = []
    for transfer in results:
        if access_of(transfer.cell.threat) != "surrogate" or transfer.metric is None or transfer.examples is None:
            continue
        searched = [
            sample(one.cell.task, one.metric, one.examples)
            for one in results
            if one.metric is not None
            and one.examples is not None
            and access_of(one.cell.threat) == "gradient"
            and without_access(one.cell.threat) == without_access(transfer.cell.threat)
        ]
        transferred = sample(transfer.cell.task, transfer.metric, transfer.examples)
        strongest = min(searched, key=lambda one: one.quality, default=None)
        if strongest is not None and difference([strongest], [transferred]).separable == 1:
            detail = (
                f"leaves a quality of {transferred.quality:.3f}, the strongest search on the model itself "
                f"{strongest.quality:.3f}: its gradients are masked"
            )
            found.append(_finding(transfer, STRONGER_THAN_WHITE_BOX, "suspect", detail))
    return found


def _finding(result: Result, name: str, severity: Severity, detail: str) -> EntryFinding:
    cell = result.cell
    return EntryFinding(cell.task, cell.model, cell.attack, cell.threat, name, severity, detail)
