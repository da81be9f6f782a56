"""Rows that are left out: those to learn on that are attacked, too, and those that hold nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from adversarial.errors import DataError
from tasks.data.reading import Rows


T = TypeVar("T")


def apart(
    attacked: Sequence[T], learned: Sequence[T], content: Callable[[T], bytes]
) -> tuple[list[T], tuple[str, ...]]:
    """The rows to learn on without those whose content is attacked, and a note where there were some.

    Raises DataError where none is left.
    """
    known = {content(row) for row in attacked}
    kept = [row for row in learned if content(row) not in known]
    gone = len(learned) - len(kept)
    if not kept:
        raise DataError(
            f"all {gone} rows that attacks would learn on are attacked, too: are two splits the same file? Choose "
            "another --split or --fit-split, or take repeated rows out"
        )
    return kept, (f"{gone} of {len(learned)} rows to learn on are attacked, too, and taken out",) if gone else ()


def left_out(rows: Rows, numbers: Sequence[int], why: str) -> tuple[str, ...]:
    """A note on rows, by their numbers in the source; raises DataError where these are all."""
    if numbers and len(numbers) == len(rows):
        raise DataError(f"all {len(rows)} rows of {rows.name} {why}; name their column with --column")
    first = min(numbers, default=0)
    note = f"{len(numbers)} of {len(rows)} rows of {rows.name} {why} and are left out (row {first} is the first)"
    return (note,) if numbers else ()
