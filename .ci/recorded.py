"""`python -m pytest`, and a record of what came of every test: `recorded.py RECORD PYTEST-ARGUMENTS...`.

The record is JSON with the fields of `Record`. It is written when the session ends; one that crashes leaves none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest


Outcome = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True)
class Record:
    """What came of a session, in node ids.

    collected: to be run. outcomes: of the tests that ended; a worker that dies leaves others that never began.
    unreadable: what could not be collected. skipped_files: those that skip as a whole. crashes: of workers, outside a
    test.
    """

    collected: list[str] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    skipped_files: list[str] = field(default_factory=list)
    crashes: int = 0

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """A session's record; None where the session crashed."""
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def not_passed(self) -> list[str]:
        """Collected tests of which nobody saw that they pass or skip."""
        return [name for name in self.collected if self.outcomes.get(name) not in ("passed", "skipped")]


class Recorder:
    """A plugin of the session that reports; under pytest-xdist its workers have none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._collected: dict[str, None] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._called: dict[str, Outcome] = {}
        self._unreadable: list[str] = []
        self._skipped_files: list[str] = []
        self._deaths = 0
        self._deaths_in_tests = 0

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._unreadable.append(report.nodeid)
        elif report.skipped:
            self._skipped_files.append(report.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._collected.update(dict.fromkeys(item.nodeid for item in session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._collected.update(dict.fromkeys(ids))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, error: Any) -> None:
        self._deaths += error is not None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has ended when it was torn down; it has failed as soon as any part of it has."""
        name = report.nodeid
        if report.failed:
            self._outcomes[name] = "failed"
            self._deaths_in_tests += report.when not in ("setup", "call", "teardown")  # so xdist reports a death
        elif report.when == "teardown":
            self._outcomes.setdefault(name, self._called.get(name, "failed"))
        elif report.when == "call" or report.skipped:
            self._called[name] = report.outcome

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        record = Record(
            list(self._collected),
            self._outcomes,
            self._unreadable,
            self._skipped_files,
            self._deaths - self._deaths_in_tests,
        )
        self._path.write_text(json.dumps(asdict(record)), encoding="utf-8")


if __name__ == "__main__":
    sys.path[0] = str(Path.cwd())  # as `python -m pytest` has it
    sys.exit(pytest.main(sys.argv[2:], plugins=[Recorder(Path(sys.argv[1]))]))
