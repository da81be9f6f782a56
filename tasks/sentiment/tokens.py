"""Sentences as tokens. Imports no torch."""

from __future__ import annotations

import re
from typing import Final


# Words with their contractions (didn't), numbers, and any other visible character alone.
_TOKEN: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+(?:[.,:]\d+)*|[^\w\s]|_")


def tokenise(text: str) -> tuple[str, ...]:
    """Lower-case words, numbers and punctuation, each a token of its own.

    >>> tokenise("Didn't like it, 2/10.")
    ("didn't", 'like', 'it', ',', '2', '/', '10', '.')
    """
    return tuple(_TOKEN.findall(text.replace("\u2019", "'").lower()))
