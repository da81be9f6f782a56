"""The boards as they are served: built in the background when the store changes, and then only bytes."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from adversarial.errors import StoreError
from leaderboard.database.accepted import fingerprint, refresh, suites_with_entries
from leaderboard.database.blob_store import Depot
from leaderboard.database.boards import Boards, PublicBoard
from leaderboard.database.engine import Database
from leaderboard.database.history import BOARDS, counter
from leaderboard.database.suites import SuiteFacts, facts_of
from leaderboard.records.canonical import canonical_json
from leaderboard.records.files import read_whole, write_whole


log = logging.getLogger(__name__)

PER_PAGE: Final = 100
REMEMBERED: Final = "boards.cache"  # beside the bundles; may be removed at any time
WORTH_KEEPING: Final = 200  # entries: fewer are ranked faster than a file is written
MOST_PAGES: Final = 512  # rendered pages that are kept
MOST_BYTES: Final = 128_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """A body with its ETag, which is the hash of it."""

    body: bytes
    etag: str

    @classmethod
    def of(cls, body: bytes) -> Answer:
        return cls(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


@dataclass(frozen=True, slots=True)
class Published:
    """All boards at one version of the store. listings: by suite, task (all of them where empty) and page, from 1.

    pages: rendered ones, by what they show; filled as they are asked for."""

    version: int
    boards: Mapping[str, PublicBoard]
    index: Answer
    listings: Mapping[tuple[str, str, int], Answer]
    pages: dict[str, Answer] = field(default_factory=dict)


class _Remembered(msgspec.Struct, frozen=True):
    basis: str
    boards: dict[str, PublicBoard]


NOTHING: Final = Published(-1, {}, Answer.of(b""), {})


class BoardCache:
    """Keeps the newest boards. `published` may be read by any thread; it is replaced as a whole."""

    def __init__(
        self, database: Database, depot: Depot, suites: Mapping[str, SuiteFacts], refresh_seconds: float
    ) -> None:
        self._database, self._depot, self._suites = database, depot, suites
        self._seconds = refresh_seconds
        self._boards = Boards()
        self._stop = threading.Event()
        self._rendering = threading.Lock()
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._run, name="boards", daemon=True)
        self.published = NOTHING

    def start(self, wait_seconds: float) -> None:
        """Starts building, and waits a while for the first boards."""
        self._thread.start()
        self._first.wait(wait_seconds)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def update(self) -> bool:
        """Builds the boards again where the store has changed. Returns whether it did."""
        with self._database.read() as session:
            version = counter(session, BOARDS)
        if version == self.published.version:
            return False
        refresh(self._database, self._depot, self._suites)
        with self._database.read() as session:
            # What was accepted since then has no row yet: the version of before brings the next round.
            names = (*self._suites, *suites_with_entries(session))
            found = {name: facts_of(self._suites, name) for name in sorted(set(names))}
            basis = fingerprint(session, [facts for facts in found.values() if facts is not None])
            built = self._remembered(basis)
            if built is None:
                built = {name: self._boards.build(session, facts) for name, facts in found.items() if facts is not None}
                self._remember(basis, built)
        self.published = Published(version, built, Answer.of(canonical_json(_index(built))), _listings(built))
        return True

    def page(self, published: Published, key: str, render: Callable[[], str]) -> Answer:
        """A rendered page of these boards, made once, by one thread at a time."""
        pages = published.pages
        with self._rendering:
            if key not in pages:
                found = Answer.of(render().encode())
                while pages and (len(pages) >= MOST_PAGES or self._size(pages) + len(found.body) > MOST_BYTES):
                    pages.pop(next(iter(pages)))
                pages[key] = found
            return pages[key]

    def _remembered(self, basis: str) -> dict[str, PublicBoard] | None:
        """The boards that were built last, here or by another server, where they are of the same entries."""
        try:
            data = read_whole(self._depot.path / REMEMBERED)
            kept = msgspec.msgpack.decode(data, type=_Remembered) if data else None
        except (StoreError, msgspec.DecodeError):
            return None
        return kept.boards if kept is not None and kept.basis == basis else None

    def _remember(self, basis: str, boards: dict[str, PublicBoard]) -> None:
        if sum(len(board.entries) for board in boards.values()) >= WORTH_KEEPING:
            write_whole(self._depot.path / REMEMBERED, msgspec.msgpack.encode(_Remembered(basis, boards)))

    @staticmethod
    def _size(pages: Mapping[str, Answer]) -> int:
        return sum(len(one.body) for one in pages.values())

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.update()
            except Exception:  # the boards that are there stay, and the next round tries again
                log.exception("the boards could not be built")
            self._first.set()
            self._stop.wait(self._seconds)


def page_count(lines: Sequence[object]) -> int:
    """How many pages a listing has; an empty one has one."""
    return max(1, -(-len(lines) // PER_PAGE))


def _index(boards: Mapping[str, PublicBoard]) -> object:
    found = [
        {
            "suite": name,
            "url": f"/v1/boards/{name}",
            "entries": len(board.entries),
            "ranked": sum(line.rank is not None for lines in board.tasks.values() for line in lines),
            "tasks": {task: len(lines) for task, lines in board.tasks.items()},
        }
        for name, board in boards.items()
    ]
    return {"boards": found}


def _listings(boards: Mapping[str, PublicBoard]) -> dict[tuple[str, str, int], Answer]:
    found = {}
    for name, board in boards.items():
        for task in ("", *board.threats):
            lines: Sequence[object] = board.tasks.get(task, ()) if task else board.entries
            pages = page_count(lines)
            for number in range(1, pages + 1):
                body = {
                    "suite": name,
                    "task": task or None,
                    "tasks": {
                        one: {"threat": board.threats[one], "metric": board.metrics.get(one)} for one in board.threats
                    },
                    "page": number,
                    "pages": pages,
                    "total": len(lines),
                    "entries": msgspec.to_builtins(lines[(number - 1) * PER_PAGE : number * PER_PAGE]),
                }
                found[name, task, number] = Answer.of(canonical_json(body))
    return found
