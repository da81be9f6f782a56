"""Interleaved timing: every contender once a round, the minimum of five rounds each, on one thread."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch


ROUNDS: Final = 5
OURS: Final = "ours"
PACKAGES: Final = {
    "torch": "torch",
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "art": "adversarial-robustness-toolbox",
    "asr-attacks": "asr-attacks",
    "gymnasium": "gymnasium",
}


@dataclass(slots=True)
class Race:
    """What a comparison came to.

    seconds: the minimum of the rounds, by contender. results: what each contender returned last.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def ratio(self, name: str) -> float:
        """A contender's time over ours: above 1 where ours is faster."""
        return self.seconds[name] / self.seconds[OURS]

    def fastest(self, names: Iterable[str]) -> str:
        return min(names, key=self.seconds.__getitem__)

    def run(self, name: str, function: Callable[[], Any]) -> None:
        start = time.perf_counter()
        self.results[name] = function()
        took = time.perf_counter() - start
        self.seconds[name] = min(took, self.seconds.get(name, took))


def race(
    benchmark: Any, ours: Callable[[], Any], others: Mapping[str, Callable[[], Any]], rounds: int = ROUNDS
) -> Race:
    """Times ours and the others in turn; pytest-benchmark times ours as well, the others in its set-up.

    A machine that is slow for a while is slow for all of them, and the minimum is the run that nothing disturbed.
    Where pytest-benchmark is told to time nothing, one round is run.
    """
    found = Race()

    def round_of_others() -> None:
        for name, function in others.items():
            found.run(name, function)

    benchmark.pedantic(
        lambda: found.run(OURS, ours), setup=round_of_others, rounds=rounds, iterations=1, warmup_rounds=0
    )
    return found


def fastest_size(function: Callable[[int], Any], sizes: Iterable[int], enough: float = 1.0) -> int:
    """The batch size at which a run took least, each tried up to three times and until enough seconds were spent.

    It is also what warms a contender up, so the first size runs once before.
    """
    chosen = list(sizes)
    function(chosen[0])
    found, start = Race(), time.perf_counter()
    for _ in range(3):
        for size in chosen:
            found.run(str(size), partial(function, size))
        if time.perf_counter() - start > enough:
            break
    return int(found.fastest(map(str, chosen)))


def note(benchmark: Any, found: Race, peers: Iterable[str], facts: Mapping[str, Any], **more: Any) -> None:
    """Puts into the benchmark's extra information what the table shows.

    peers: whose fastest counts. facts: what came out for each contender, such as its robust accuracy. more: further
    entries, such as the setting.
    """
    names = list(peers)
    benchmark.extra_info.update(
        seconds={name: round(value, 6) for name, value in found.seconds.items()},
        ratios={name: round(found.ratio(name), 3) for name in found.seconds if name != OURS},
        peers=names,
        facts=dict(facts),
        machine=machine(),
        **more,
    )
    if names:
        fastest = found.fastest(names)
        benchmark.extra_info["fastest peer"] = fastest
        benchmark.extra_info["ratio"] = round(found.ratio(fastest), 3)


def machine() -> dict[str, Any]:
    """The processor, the thread count, and the versions of what is timed."""
    return {"cpu": _processor(), "threads": torch.get_num_threads(), "versions": versions()}


def versions() -> dict[str, str]:
    """By name, of every package that is installed."""
    found = {"python": platform.python_version()}
    for name, package in PACKAGES.items():
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
