"""What was changed in a sentence, word by word."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Final, Literal, NamedTuple


MOST_WORDS: Final = 300


class Piece(NamedTuple):
    """Some words; removed from the sentence or added to it, or the same in both."""

    change: Literal["", "removed", "added"]
    text: str


def word_changes(before: str, after: str) -> tuple[Piece, ...]:
    """The words of two sentences as pieces; what was removed stands before what replaced it."""
    old, new = before.split()[:MOST_WORDS], after.split()[:MOST_WORDS]
    pieces: list[Piece] = []
    for kind, first, last, start, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(Piece("", " ".join(old[first:last])))
            continue
        if first < last:
            pieces.append(Piece("removed", " ".join(old[first:last])))
        if start < end:
            pieces.append(Piece("added", " ".join(new[start:end])))
    return tuple(pieces)
