"""The table of the speed tests: rendered from what pytest-benchmark writes, and no mix of machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.perf.table import main, render
from benchmarks.perf.timing import OURS, Race, fastest_size, note


class Benchmark:
    """As much of pytest-benchmark's fixture as a note needs."""

    def __init__(self) -> None:
        self.extra_info: dict[str, Any] = {}


def entry(cpu: str = "a processor") -> dict[str, Any]:
    benchmark = Benchmark()
    found = Race(seconds={OURS: 0.5, "slow": 2.0, "quick": 1.25, "bare loop": 0.45})
    note(benchmark, found, ("slow", "quick"), {"robust accuracy": {"slow": 0.5, OURS: 0.5}}, setting="PGD, 10 images")
    benchmark.extra_info["machine"]["cpu"] = cpu
    return {"extra_info": benchmark.extra_info}


def test_ratios_are_of_times_and_the_fastest_peer_is_bold() -> None:
    other: dict[str, Any] = {"extra_info": {"ratio to the bare loop": 1.2}}
    text = render({"benchmarks": [entry(), other]})
    row = text.splitlines()[2]
    assert row == "| PGD, 10 images | 0.5 | slow 4, **quick 2.5** | bare loop 0.9 | robust accuracy 0.5 for all |"
    assert "a processor, " in text
    assert "torch 2" in text


def test_two_machines_make_no_table() -> None:
    with pytest.raises(ValueError, match="several machines"):
        render({"benchmarks": [entry(), entry("another")]})
    with pytest.raises(ValueError, match="no comparisons"):
        render({"benchmarks": []})


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "peers.json"
    assert main([str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    path.write_text(json.dumps({"benchmarks": [entry()]}), encoding="utf-8")
    assert main([str(path)]) == 0
    assert capsys.readouterr().out.startswith("| setting | ours, s |")


def test_the_quickest_size_is_chosen() -> None:
    import time

    assert fastest_size(lambda size: time.sleep(abs(size - 20) / 1000), (10, 20, 30)) == 20
