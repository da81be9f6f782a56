"""Runs a command with less than its caller has: no network, its own folder to write in, and limits.

A program of its own, of the standard library alone: `python -I confine.py SPEC COMMAND...`. It writes one line of JSON
about what was cut to the descriptor `report` and becomes the command. SPEC is JSON: `report`, `writable` (folders),
`memory_bytes`, `file_bytes`, `open_files`, `cpu_seconds`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Sequence


CUT = "cut"
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_PARENT_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
# Landlock, by its own numbers, which are those of every architecture but alpha.
_CREATE_RULES, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_RIGHTS = (1, 4, 5, 6, 7, 8, 9, 10, 11, 12)  # write, remove, make of each kind
_TCP_RIGHTS = 0b11
_SCOPES = 0b11  # abstract sockets and signals stay inside

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: Sequence[str]) -> None:
    """Confines this process and becomes the command; exits with 126 where a limit cannot be set."""
    spec, command = json.loads(arguments[0]), list(arguments[1:])
    parent = os.getppid()
    _libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(126)  # the worker died before it could be known
    report = {"network": cut_network(), "files": cut_files(spec["writable"])}
    if report["network"] != CUT and report["files"].endswith("and TCP"):
        report["network"] = "TCP only was cut"
    set_limits(spec["memory_bytes"], spec["file_bytes"], spec["open_files"], spec["cpu_seconds"])
    os.write(spec["report"], json.dumps(report).encode() + b"\n")
    os.close(spec["report"])
    os.execv(command[0], command)


def cut_network() -> str:
    """Moves this process into a network of its own, which has no way out. Returns `cut`, or why it was not."""
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(_NEW_NETWORK) == 0:
        return CUT
    if _libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return f"not cut: {os.strerror(ctypes.get_errno())}"
    with contextlib.suppress(OSError):  # without a map the process is nobody, which is enough to read
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            _write(f"/proc/self/{name}", text)
    return CUT


def cut_files(writable: Sequence[str]) -> str:
    """Forbids writing anywhere but below some folders, by Landlock. Returns `confined`, or why it was not."""
    version = _libc.syscall(_CREATE_RULES, None, 0, 1)
    if version < 1:
        return "not confined: this kernel has no Landlock"
    rights = (
        sum(1 << bit for bit in _WRITE_RIGHTS) | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    )
    fields = (rights, _TCP_RIGHTS, _SCOPES)[: 1 if version < 4 else 2 if version < 6 else 3]
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    rules = _libc.syscall(_CREATE_RULES, attributes, len(attributes), 0)
    if rules < 0:
        return f"not confined: {os.strerror(ctypes.get_errno())}"
    try:
        for folder in (*writable, "/dev"):
            handle = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            _libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", rights, handle), 0)
            os.close(handle)
        _libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        if _libc.syscall(_RESTRICT_SELF, rules, 0) != 0:
            return f"not confined: {os.strerror(ctypes.get_errno())}"
    finally:
        os.close(rules)
    return "confined" if version < 4 else "confined, and TCP"


def set_limits(memory_bytes: int, file_bytes: int, open_files: int, cpu_seconds: int) -> None:
    """Limits of each process, for good. Address space may be twice the memory: libraries map more than they use."""
    limits = {
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_AS: 2 * memory_bytes + (16 << 30),
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: open_files,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_CORE: 0,
    }
    for which, wanted in limits.items():
        hard = resource.getrlimit(which)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(which, (value, value))


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


if __name__ == "__main__":
    main(sys.argv[1:])
