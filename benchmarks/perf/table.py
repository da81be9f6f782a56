"""The times of `make perf` as Markdown: `python -m benchmarks.perf.table .benchmarks/peers.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


HEADER = ("setting", "ours, s", "peers' time over ours", "others' time over ours", "outcome, ours and theirs")


def render(document: Mapping[str, Any]) -> str:
    """A row for each benchmark that holds a comparison; the machine and the versions below.

    document: what pytest-benchmark wrote. Raises ValueError where it holds no comparison, or those of more than one
    machine or set of versions.
    """
    entries = [entry["extra_info"] for entry in document["benchmarks"] if "ratios" in entry["extra_info"]]
    if not entries:
        raise ValueError("no comparisons in this file; write it with: make perf")
    machines = {json.dumps(entry["machine"], sort_keys=True) for entry in entries}
    if len(machines) > 1:
        raise ValueError("the comparisons are of several machines or versions; run them in one: make perf")
    lines = [_row(HEADER), _row("---" for _ in HEADER), *(_row(_cells(entry)) for entry in entries)]
    return "\n".join(lines) + "\n\n" + _below(entries[0]["machine"]) + "\n"


def _cells(entry: Mapping[str, Any]) -> Sequence[str]:
    peers = entry.get("peers", ())
    ratios = {name: f"{name} {_number(value)}" for name, value in entry["ratios"].items()}
    fastest = entry.get("fastest peer")
    theirs = [f"**{ratios[name]}**" if name == fastest else ratios[name] for name in peers]
    others = [text for name, text in ratios.items() if name not in peers]
    return (
        entry["setting"],
        _number(entry["seconds"]["ours"]),
        ", ".join(theirs) or "none",
        ", ".join(others) or "none",
        "; ".join(_outcome(name, values) for name, values in entry["facts"].items()),
    )


def _outcome(name: str, values: Any) -> str:
    """A fact by contender: ours first, equal ones together."""
    if not isinstance(values, Mapping):
        return f"{name} {values}"
    order = sorted(values, key=lambda contender: contender != "ours")
    texts = {contender: _text(values[contender]) for contender in order}
    if len(set(texts.values())) == 1:
        return f"{name} {texts[order[0]]} for all"
    return f"{name} " + ", ".join(f"{contender} {text}" for contender, text in texts.items())


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return " at ".join(f"{name} {_number(number)}" for name, number in value.items())
    return _number(value)


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _below(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = machine["threads"]
    return (
        f"{machine['cpu']}, {threads} thread{'' if threads == 1 else 's'}; {versions}. Each the minimum of five "
        "interleaved runs at its own fastest batch size; above 1, ours is faster; bold, the fastest peer."
    )


def _row(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m benchmarks.perf.table TIMES.json", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        print(render(json.loads(path.read_text(encoding="utf-8"))), end="")
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
