"""What a word may be replaced by: words of the same meaning, and slips on a keyboard.

Synonyms come from synonyms.tsv. Misspellings change one place inside of a word, after Pruthi et al. 2019,
https://arxiv.org/abs/1905.11268: two neighbouring letters swapped, a letter dropped, doubled, or hit beside its key.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from tasks.sentiment.dataset import SPLITS, load_keyboard, load_split, load_synonyms
from tasks.sentiment.tokens import tokenise


Choices = Callable[[str], tuple[str, ...]]  # the candidates of a word

SHORTEST_MISSPELT: Final = 4  # letters
PER_KIND: Final = 2  # misspellings of each of the four kinds

NEGATORS: Final = frozenset(
    {
        *("no", "not", "n't", "never", "none", "nobody", "nothing", "nowhere", "nor", "neither", "cannot", "without"),
        *("hardly", "scarcely", "barely", "lack", "lacks", "lacked", "lacking", "few", "little", "less", "least"),
    }
)


def is_negator(word: str) -> bool:
    """Whether the word turns what follows into its opposite, contractions included."""
    return word in NEGATORS or word.endswith("n't")


def is_replaceable(word: str) -> bool:
    """Whether a word may have candidates at all: negators, numbers and punctuation never do."""
    return word.isalpha() and word.isascii() and not is_negator(word)


@lru_cache(maxsize=1 << 16)
def candidates(word: str) -> tuple[str, ...]:
    """The replacements of a lower-case word, synonyms first; empty for what must not change.

    No candidate is the word itself, a negator, or the word with a prefix or an ending that turns it round; no
    misspelling is a word of the data.
    """
    if not is_replaceable(word):
        return ()
    synonyms = (other for other in load_synonyms().get(word, ()) if is_replaceable(other) and not opposite(word, other))
    return tuple(dict.fromkeys((*(other for other in synonyms if other != word), *misspellings(word))))


def opposite(one: str, other: str) -> bool:
    """Whether one word is the other turned round by a prefix or an ending: kind and unkind, careful and careless."""
    short, long = sorted((one, other), key=len)
    if any(long == prefix + short for prefix in ("un", "in", "im", "ir", "il", "dis", "mis", "non")):
        return True
    return any(
        one.endswith(ends[0]) and other == one.removesuffix(ends[0]) + ends[1]
        for ends in (("ful", "less"), ("less", "ful"), ("fully", "lessly"), ("lessly", "fully"))
    )


def misspellings(word: str) -> tuple[str, ...]:
    """At most two of each kind, of all that keep the first and the last letter; which ones, a checksum decides."""
    if len(word) < SHORTEST_MISSPELT:
        return ()
    known = known_words()
    found: dict[str, None] = {}
    for kind in _slips(word):
        fresh = sorted({slip for slip in kind if slip != word and slip not in known and slip not in found}, key=_order)
        found.update(dict.fromkeys(fresh[:PER_KIND]))
    return tuple(found)


@lru_cache(maxsize=1)
def known_words() -> frozenset[str]:
    """The words of all splits and of the synonyms: what a misspelling must not turn into."""
    own = {word for split in SPLITS for text in load_split(split).texts for word in tokenise(text)}
    synonyms = load_synonyms()
    return frozenset(own | synonyms.keys() | {word for others in synonyms.values() for word in others})


def _slips(word: str) -> tuple[list[str], ...]:
    keys, inner = load_keyboard(), range(1, len(word) - 1)
    swapped = [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner[:-1]]
    dropped = [word[:i] + word[i + 1 :] for i in inner]
    doubled = [word[: i + 1] + word[i:] for i in inner]
    beside = [word[:i] + key + word[i + 1 :] for i in inner for key in keys.get(word[i], ())]
    return swapped, dropped, doubled, beside


def _order(word: str) -> tuple[int, str]:
    return zlib.crc32(word.encode()), word
