"""A PostgreSQL cluster of the tests' own: in a temporary folder, on a socket only, ended with the process."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import pytest


SECONDS = 120.0
USERS = ("postgres", "nobody")


@functools.cache
def programs() -> Path | None:
    """Where PostgreSQL's server lies, None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _as_user(folder: Path) -> list[str]:
    """What goes before a command: PostgreSQL refuses to run as root, so there it becomes somebody else."""
    if os.geteuid() != 0:
        return []
    for name in USERS:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    pytest.skip("no unprivileged user to run PostgreSQL as")


@functools.cache
def _cluster() -> str:
    """Starts the cluster once a process, and returns its URL up to the name of the database."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path must be short
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    user = _as_user(folder)
    if user and shutil.which("setpriv") is None:
        pytest.skip("no setpriv, which runs PostgreSQL as another user than root")
    data = folder / "data"
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}
    made = subprocess.run(
        [*user, str(found / "initdb"), "-D", str(data), "-U", "board", "-A", "trust", "--no-sync", "-E", "UTF8"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    settings = {"listen_addresses": "", "unix_socket_directories": str(folder), "fsync": "off", "max_connections": 150}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*user, str(found / "postgres"), "-D", str(data), *options],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    atexit.register(_stop, server)
    base = f"postgresql://board@/{{}}?host={folder}"
    end = time.monotonic() + SECONDS
    while True:
        try:
            psycopg.connect(base.format("postgres")).close()
            return base
        except psycopg.OperationalError:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, "PostgreSQL did not start"
            time.sleep(0.05)


def new_database() -> str:
    """The URL of a new, empty database; skips the test where PostgreSQL is not installed."""
    base = _cluster()
    name = f"board_{time.monotonic_ns()}"
    with psycopg.connect(base.format("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type,unused-ignore]
    return base.format(name)


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)  # ends open connections, too
    try:
        server.wait(SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
