"""One verification as a process of its own: started with little, watched, and ended for good."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, NamedTuple

from leaderboard.records.canonical import ResultError
from leaderboard.records.files import read_whole
from leaderboard.records.verdict import Verdict, decode_verdict
from leaderboard.server.settings import WorkerSettings


log = logging.getLogger(__name__)

LONGEST_LINE: Final = 1_000
LARGEST_VERDICT: Final = 16_000_000  # bytes
STEP_SECONDS: Final = 0.1
# What the verifying process sees of its worker's environment: nothing that is secret, nothing that names the store.
KEPT: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
)


class Verification(NamedTuple):
    """What came of a process. verdict: None where it gave none, and trouble then says why; final: another attempt is
    of no use; stopped: it was ended because its worker was asked to.
    """

    verdict: Verdict | None
    trouble: str = ""
    final: bool = False
    stopped: bool = False
    network: str = ""
    files: str = ""


@dataclass(slots=True)
class Watched:
    """A started process, and the last line that it wrote to standard error."""

    process: subprocess.Popen[bytes]
    confinement: Mapping[str, str]
    last_line: str = ""

    def read_lines(self, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(LONGEST_LINE):
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self.last_line = text


def run_verifier(
    settings: WorkerSettings,
    bundle: Path,
    bundle_id: str,
    draw: tuple[str, int],
    scratch: Path,
    alive: Callable[[str], bool],
) -> Verification:
    """Runs the command on a bundle until it ends, its time is over, or alive says to stop.

    draw: the nonce, and how many cells are measured again. alive: called every tenth of a second with the last line of
    progress. scratch: an empty folder, the only one in which the process may write.
    """
    output = scratch / "verdict.json"
    with output.open("xb") as file:
        watched = _start(settings, _command(settings, bundle, draw), scratch, file)
    process = watched.process
    assert process.stderr is not None
    reader = threading.Thread(target=watched.read_lines, args=(process.stderr,), daemon=True)
    reader.start()
    end = time.monotonic() + settings.seconds
    stopped = late = False
    try:
        while process.poll() is None and not (stopped or late):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STEP_SECONDS)
            stopped = process.poll() is None and not alive(watched.last_line)
            late = time.monotonic() > end and process.poll() is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it and all that it started
        process.wait()
        reader.join(5.0)
    if process.returncode and watched.last_line:
        log.warning("%s: the verifier's last line: %s", bundle_id[:12], watched.last_line)
    said = Verification(None, network=watched.confinement["network"], files=watched.confinement["files"])
    if stopped:
        return said._replace(stopped=True)
    if late:
        return said._replace(trouble=f"it took longer than {settings.seconds:g} seconds", final=True)
    return _judged(said, process.returncode, output, bundle_id)


def _judged(said: Verification, status: int, output: Path, bundle_id: str) -> Verification:
    if status not in (0, 1):
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return said._replace(trouble=f"it ended with {how}")
    try:
        if output.stat().st_size > LARGEST_VERDICT:
            raise ResultError(f"not a verdict: more than {LARGEST_VERDICT} bytes")
        verdict = decode_verdict(read_whole(output) or b"")
    except ResultError as error:
        return said._replace(trouble=f"it ended with exit status {status}; {error}"[:LONGEST_LINE])
    if verdict.accepted != (status == 0):
        return said._replace(trouble=f"it said {verdict.level} and ended with exit status {status}")
    if verdict.bundle != bundle_id and (verdict.accepted or verdict.bundle):
        return said._replace(trouble="its verdict is of another bundle")
    return said._replace(verdict=verdict)


def _command(settings: WorkerSettings, bundle: Path, draw: tuple[str, int]) -> list[str]:
    found = {"BUNDLE": str(bundle.absolute()), "RERUN": str(draw[1]), "NONCE": draw[0]}
    command = [found.get(part, part) for part in settings.command]
    return [shutil.which(command[0]) or command[0], *command[1:]]


def _start(settings: WorkerSettings, command: list[str], scratch: Path, output: IO[bytes]) -> Watched:
    temporary = scratch / "tmp"
    temporary.mkdir()
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {name: str(temporary) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME")}
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    receiving, reporting = os.pipe()
    spec = {
        "report": reporting,
        "writable": [str(scratch.absolute())],
        "memory_bytes": settings.memory_bytes,
        "file_bytes": settings.file_bytes,
        "open_files": settings.open_files,
        "cpu_seconds": int(settings.seconds * (os.cpu_count() or 1)) + 1,
    }
    confine = Path(__file__).with_name("confine.py")
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", str(confine), json.dumps(spec), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            cwd=scratch,
            env=environment,
            pass_fds=(reporting,),
            start_new_session=True,
        )
    finally:
        os.close(reporting)
    with os.fdopen(receiving, "rb") as pipe:
        line = pipe.readline(LONGEST_LINE)
    confinement = json.loads(line) if line else {"network": "not known", "files": "not known"}
    return Watched(process, confinement)
