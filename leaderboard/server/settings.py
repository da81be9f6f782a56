"""What an operator decides about a server and a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from leaderboard.bundle.manifest import Benchmark
from leaderboard.bundle.reading import Limits
from leaderboard.records.examples import Originals


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """hosts: names under which requests may ask for this server; anything else is refused (DNS rebinding).

    bundle: what a bundle may claim. uploads_at_once: bodies that are read at the same time, the others wait; checks:
    bundles that are checked at the same time. idle_seconds: without a byte of an upload. submissions_per_hour: of one
    account; requests_per_minute: of one address, boards aside; failures_per_minute: wrong tokens of one address.
    most_unfinished: submissions of an account in the queue. benchmark: the version whose bundles are taken, any where
    None. limited_suites: whether boards of a suite's first examples are kept. refresh_seconds: how old a board may be.
    free_bytes: of the disk, below which no upload is taken. originals: what examples were before they were disturbed,
    for pages.
    """

    folder: Path
    database_url: str | None = None
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    bundle: Limits = field(default_factory=lambda: Limits(total=1_000_000_000, records=128_000_000))
    uploads_at_once: int = 8
    checks_at_once: int = 2
    idle_seconds: float = 30.0
    submissions_per_hour: int = 60
    requests_per_minute: int = 600
    failures_per_minute: int = 20
    most_unfinished: int = 100
    benchmark: Benchmark | None = None
    limited_suites: bool = False
    refresh_seconds: float = 0.5
    free_bytes: int = 1_000_000_000
    originals: Originals | None = None


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """command: what verifies; BUNDLE, RERUN and NONCE in it are replaced. rerun: cells to measure again.

    seconds: of one verification. memory_bytes, open_files: of one process of it. file_bytes: of one file that it
    writes. lease_seconds: how long a job stays this worker's after it was last heard of.
    """

    folder: Path
    command: tuple[str, ...]
    database_url: str | None = None
    name: str = ""
    rerun: int = 3
    seconds: float = 3600.0
    memory_bytes: int = 8 << 30
    file_bytes: int = 4 << 30
    open_files: int = 1024
    lease_seconds: float = 60.0
    poll_seconds: float = 1.0
    most_attempts: int = 3
