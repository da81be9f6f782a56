"""`python -m pytest`, where tests that fail run once more, alone: `rerun.py PYTEST-ARGUMENTS...`.

A test that fails beside others and passes alone is printed as flaky, so that it is seen and mended, and fails nothing;
one that fails again does. What is no flake fails at once: more than MOST failures, a file that cannot be read, a
session or a worker that dies outside a test.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from recorded import Record


MOST: Final = 20  # failures that may be flakes
SECONDS = 300.0  # of the second run
GRACE_SECONDS: Final = 30.0
RECORDED: Final = Path(__file__).with_name("recorded.py")


class Session(NamedTuple):
    """code: pytest's exit code. record: None where the session crashed."""

    code: int
    record: Record | None


def main(arguments: Sequence[str]) -> int:
    """Runs tests, those that fail once more, and returns an exit code: 0 only if everything passed in the end."""
    code, first = run(arguments)
    if first is None:
        return code or 1
    suspects = first.not_passed()
    if code == 0 and not (suspects or first.crashes):
        return 0
    if reason := no_flake(code, first):
        print(f"no second run: {reason}")
        failed = [name for name in suspects if name in first.outcomes]
        if never := len(suspects) - len(failed):
            print(f"{never} never ran to their end")
        return closed(first, failed=failed + first.unreadable) or code or 1
    print(f"{len(suspects)} failed; once more, alone:", flush=True)
    second = run(suspects, SECONDS).record or Record()
    flaky = [name for name in suspects if second.outcomes.get(name) == "passed"]
    for name in flaky:
        print(f"flaky: {name}")
    return closed(first, failed=[name for name in suspects if name not in flaky], flaky=flaky)


def no_flake(code: int, record: Record) -> str:
    """Why a second run could not tell a flake from a fault; empty where it could."""
    if record.unreadable:
        return f"could not collect {', '.join(record.unreadable)}"
    if record.crashes:
        return f"{record.crashes} of pytest's workers died outside a test"
    if code != 1 or not record.not_passed():
        return f"pytest ended with {code}, and {len(record.not_passed())} of its tests failed"
    if len(record.not_passed()) > MOST:
        return f"{len(record.not_passed())} failed, which are more than {MOST}"
    return ""


def closed(record: Record, *, failed: Sequence[str], flaky: Sequence[str] = ()) -> int:
    """Prints what came of both runs as a closing line, and returns the exit code."""
    for name in failed:
        print(f"failed: {name}")
    outcomes = list(record.outcomes.values())
    skipped = outcomes.count("skipped") + len(record.skipped_files)
    print(f"{outcomes.count('passed') + len(flaky)} passed, {len(failed)} failed, {skipped} skipped", flush=True)
    return int(bool(failed))


def run(arguments: Sequence[str], seconds: float | None = None) -> Session:
    """A session of pytest in a process of its own, whose death is not ours; what it still does at its time is ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.json"
        process = subprocess.Popen([sys.executable, str(RECORDED), str(path), *arguments])
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"\nnot over after {seconds:.0f} s", flush=True)
        finally:
            code = end(process)
        record = Record.read(path)
    if record is None:
        print(f"\npytest ended with {code} and no record of the tests", flush=True)
    return Session(code, record)


def end(process: subprocess.Popen[bytes]) -> int:
    """Interrupts a session that still runs, so that its tests end what they started; returns its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that pytest is ended too
    sys.exit(main(sys.argv[1:]))
