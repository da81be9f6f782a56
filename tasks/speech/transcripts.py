"""From scores to transcripts, from transcripts to word errors."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from adversarial.errors import DataError
from adversarial.inputs import Scores
from tasks.speech.dataset import WORDS


BLANK: Final = 0
SPACE: Final = 1
_SPOKEN: Final = sorted(set("".join(WORDS)))  # the letters of the digits
SYMBOLS: Final = 2 + len(_SPOKEN)  # that the digits need: the blank, the space and their letters
# A frame's symbols. What only a user's own data need comes last: a model of digits stops before it.
ALPHABET: Final = "\0 " + "".join(_SPOKEN) + "".join(sorted(set(string.ascii_lowercase) - set(_SPOKEN))) + "'"
APOSTROPHE: Final = ALPHABET.index("'")  # read as nothing
OTHER: Final = "?"  # how a letter is read that the alphabet lacks: a model's further symbols all stand for such
_CODES: Final = np.frombuffer((ALPHABET + OTHER).encode("ascii"), dtype=np.uint8)


@runtime_checkable
class Transcriber(Protocol):
    """The reader of scores that are not symbols a frame: a decoder that writes a text token by token."""

    def likelihood(self, scores: Scores, texts: Sequence[str]) -> Tensor:
        """log p(text | utterance) of each row over the text's number of tokens, float32 [batch], differentiable."""

    def transcripts(self, scores: Scores) -> list[str]:
        """What each row says, in lower-case words with single spaces between them; always the same."""


@dataclass(frozen=True, slots=True)
class WordErrors:
    """What turns a reference into a hypothesis, with as few edits as possible."""

    substitutions: int
    insertions: int
    deletions: int

    @property
    def total(self) -> int:
        return self.substitutions + self.insertions + self.deletions


def encode(transcripts: Sequence[str], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Symbols, int64 [batch, longest] filled up with blanks, and their counts, int64 [batch].

    Raises DataError for a letter that the alphabet lacks.
    """
    try:
        rows = [[ALPHABET.index(letter) for letter in transcript] for transcript in transcripts]
    except ValueError:
        raise DataError(f"expected transcripts of the letters {ALPHABET[1:]!r}, got {transcripts}") from None
    counts = [len(row) for row in rows]
    filled = [row + [BLANK] * (max(counts) - len(row)) for row in rows]
    return torch.tensor(filled, device=device), torch.tensor(counts, device=device)


def collapse(scores: Scores) -> Tensor:
    """Each row's best path without repeats and blanks, filled up with blanks; int64 [batch, frames]."""
    path = scores.values.argmax(2)
    if scores.mask is not None:
        path = torch.where(scores.mask, path, BLANK)
    kept = path != BLANK
    kept[:, 1:] &= path[:, 1:] != path[:, :-1]
    return _packed(path, kept)


def letters(symbols: Tensor) -> Tensor:
    """Symbols [batch, length] without spaces and apostrophes, filled up with blanks."""
    return _packed(symbols, (symbols != BLANK) & (symbols != SPACE) & (symbols != APOSTROPHE))


def _packed(symbols: Tensor, kept: Tensor) -> Tensor:
    # What is not kept goes to a column in front, which is then cut off.
    place = torch.where(kept, kept.cumsum(1), 0)
    packed = symbols.new_zeros(len(symbols), symbols.shape[1] + 1).scatter_(1, place, symbols)
    return packed[:, 1:]


def decode(scores: Scores) -> list[str]:
    """Greedy transcripts, their words separated by single spaces. One transfer to the host.

    A scores' own transcriber writes them where it has one; symbols beyond the alphabet are read as OTHER, apostrophes
    as nothing, as in the references.
    """
    if isinstance(scores.reader, Transcriber):
        return scores.reader.transcripts(scores)
    letters = _CODES[np.minimum(collapse(scores).cpu().numpy(), len(ALPHABET))]
    return [" ".join(row.tobytes().rstrip(b"\0").replace(b"'", b"").decode("ascii").split()) for row in letters]


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Substituted, inserted and deleted words of the hypothesis."""
    if reference == hypothesis:
        return WordErrors(0, 0, 0)
    edits = [edit.tag for edit in Levenshtein.editops(reference.split(), hypothesis.split())]
    return WordErrors(edits.count("replace"), edits.count("insert"), edits.count("delete"))


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """The word errors of a corpus over the words of its references; more than 1 where much is inserted."""
    errors = sum(word_errors(r, h).total for r, h in zip(references, hypotheses, strict=True))
    return errors / sum(len(reference.split()) for reference in references)
