"""From a suite to its records: planning, executors, measuring. Imports nothing heavy."""

from __future__ import annotations

from typing import Final

from adversarial.entries import ExecutorEntry


ENTRIES: Final = (
    ExecutorEntry(
        "process", "benchmarks.running.executors:Process", "spawned workers: one a core, or one an accelerator"
    ),
    ExecutorEntry("serial", "benchmarks.running.executors:Serial", "one cell after the other, in this process"),
)
