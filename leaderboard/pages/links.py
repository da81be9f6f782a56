"""Where pages lie: patterns of addresses, so that a static site and a server use the same pages."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote


_PLAIN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,79}")
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(1, 10))})


DOWNLOADS: Final = {"csv": "CSV", "json": "JSON", "parquet": "Parquet"}  # formats of a board, and how they are called


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses with places in braces: task, entry and badge take {key}, compare takes {one} and {other}.

    An empty pattern means that there is no such page, and then nothing links to it. pairs: the entries that have a
    page with each other, None where any two have. downloads: what a board may be had as, by its name.
    """

    board: str
    task: str
    entry: str
    compare: str
    defenses: str
    scores: str
    badge: str = ""
    home: str = ""
    pairs: frozenset[str] | None = None
    downloads: dict[str, str] = field(default_factory=dict)

    def to_task(self, key: str) -> str:
        return self.task.replace("{key}", quote(key, safe=""))

    def to_entry(self, key: str) -> str:
        return self.entry.replace("{key}", quote(key, safe=""))

    def to_badge(self, key: str) -> str:
        return self.badge.replace("{key}", quote(key, safe=""))

    def to_pair(self, one: str, other: str) -> str:
        """The page of two entries, empty where there is none; the same page in either order."""
        first, second = sorted((one, other))
        if not self.compare or one == other or (self.pairs is not None and not {one, other} <= self.pairs):
            return ""
        return self.compare.replace("{one}", quote(first, safe="")).replace("{other}", quote(second, safe=""))


def file_key(name: str) -> str:
    """A name as a part of a file name, on every file system; two names never share one."""
    if _PLAIN.fullmatch(name) and name.partition(".")[0] not in _DEVICES and not name.endswith("."):
        return name
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{words or 'entry'}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


STATIC = Links(
    board="index.html",
    task="tasks/{key}.html",
    entry="entries/{key}.html",
    compare="compare/{one}--{other}.html",
    defenses="defenses.html",
    scores="scores.html",
    badge="badges/{key}.svg",
)


def static_links(depth: int = 0, pairs: frozenset[str] | None = None, downloads: tuple[str, ...] = ()) -> Links:
    """The links of a static page that lies this many folders below the first one."""
    up = "../" * depth
    return replace(
        STATIC,
        board=up + STATIC.board,
        task=up + STATIC.task,
        entry=up + STATIC.entry,
        compare=up + STATIC.compare,
        defenses=up + STATIC.defenses,
        scores=up + STATIC.scores,
        badge=up + STATIC.badge,
        pairs=pairs,
        downloads={DOWNLOADS[name.rpartition(".")[2]]: f"{up}data/{name}" for name in downloads},
    )
