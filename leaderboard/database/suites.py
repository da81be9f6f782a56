"""What a board must know of a suite, kept as a file beside the bundles so that boards can be rebuilt without the code
that measures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from leaderboard.bundle.manifest import checked_word
from leaderboard.database.blob_store import Depot
from leaderboard.records.canonical import ResultError, canonical_json
from leaderboard.records.files import read_whole, write_whole


_LIMITED: Final = re.compile(r"(?P<base>.+)-limit[1-9][0-9]{0,6}")


class SuiteFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """ranking_threats: what ranks each task. unrealisable_threats: shown, never ranked."""

    name: str
    ranking_threats: dict[str, str]
    unrealisable_threats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checked_word("suite", self.name)


def write_suite(depot: Depot, facts: SuiteFacts) -> None:
    """Adds or replaces a suite. Raises StoreError."""
    path = depot.suites / f"{facts.name}.json"
    data = canonical_json(facts)
    if read_whole(path) != data:
        write_whole(path, data)


def read_suites(depot: Depot) -> dict[str, SuiteFacts]:
    """Every suite that has a board here, by name. Raises ResultError for a file that is none."""
    found = {}
    for path in sorted(depot.suites.glob("[!.]*.json")):
        try:
            facts = msgspec.json.decode(read_whole(path) or b"", type=SuiteFacts)
        except (ValueError, msgspec.DecodeError) as error:
            raise ResultError(f"{path}: not a suite: {error}. Remove it, and start the server again") from error
        found[facts.name] = facts
    return found


def facts_of(suites: Mapping[str, SuiteFacts], suite: str, *, limited: bool = True) -> SuiteFacts | None:
    """The facts of a suite, or of the first examples of one (`mini@2-limit20`) where those may be; else None."""
    cut = _LIMITED.fullmatch(suite)
    found = suites.get(suite) or (suites.get(cut["base"]) if cut is not None and limited else None)
    return None if found is None else msgspec.structs.replace(found, name=suite)
