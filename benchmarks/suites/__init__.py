"""Suites, one a file: trials as data. Imports no torch."""

from __future__ import annotations

from typing import Final

from benchmarks.suites import full_1, mini_1, mini_2
from benchmarks.suites.suite import Suite


ENTRIES: Final[tuple[Suite, ...]] = (mini_1.SUITE, mini_2.SUITE, full_1.SUITE)
