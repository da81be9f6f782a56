"""Words of a lexicon as the pieces that a model's own tokenizer makes of them, the same whatever stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from adversarial.errors import ModelError
from tasks.models.folders import staged
from tasks.sentiment.candidates import candidates, known_words
from tasks.sentiment.dataset import load_split
from tasks.sentiment.tokens import tokenise
from tasks.sentiment.words import Lexicon


TOKENIZER: Final = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
VOCABULARIES: Final = ("vocab.txt", "vocab.json", "merges.txt")  # of tokenizers that have no tokenizer.json
MOST_PIECES: Final = 64  # of a word; each is a vector in every place where a word may stand
# What may stand before a word: nothing, or the space that byte-level tokenizers make part of it.
_LEADS: Final = ("", " ")


class Pieces:
    """The pieces of each word of a lexicon, worked out once for each word, as the lexicon grows.

    prefix, suffix: the special tokens around a text. lead: what stands before the first word as well, so that it has
    the pieces that it has anywhere else. most: the pieces of the word of the data, or the candidate of one, that has
    the most; a word from elsewhere with more of them is cut there. own: these words, the task's where None. filler: a
    piece for places that no word takes; masks hide it.
    """

    def __init__(
        self,
        tokenizer: Any,
        lexicon: Lexicon,
        vocabulary: int,
        filler: int = 0,
        own: frozenset[str] | None = None,
    ) -> None:
        self._tokenizer, self._lexicon, self._filler, self._vocabulary = tokenizer, lexicon, filler, vocabulary
        self.prefix, self.suffix = _around(tokenizer)
        self.lead = _lead(tokenizer)
        self._counts = torch.empty(0, dtype=torch.int64)
        self._table = torch.empty(0, 0, dtype=torch.int64)
        counted = data_words() if own is None else own
        words = lexicon.words()
        pieces = self._of(words)
        self.most = max(len(found) for word, found in zip(words, pieces, strict=True) if word in counted)
        if self.most > MOST_PIECES:
            raise ModelError(
                f"the tokenizer makes up to {self.most} pieces of a word, expected at most {MOST_PIECES}: is it "
                "of another language?"
            )
        self._check([*self.prefix, *self.suffix])
        self._add(pieces)

    def of(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The pieces of word ids, int64 [..., most], filled up with the filler, and how many they are, int64 [...]."""
        self._extend(ids.device)
        return self._table[ids], self._counts[ids]

    def _extend(self, device: torch.device) -> None:
        if fresh := self._lexicon.words(len(self._counts)):
            self._add(self._of(fresh))
        if self._table.device != device:
            self._table, self._counts = self._table.to(device), self._counts.to(device)

    def _add(self, pieces: list[list[int]]) -> None:
        rows = [own[: self.most] for own in pieces]
        counts = torch.tensor([len(own) for own in rows])
        table = torch.full((len(rows), self.most), self._filler, dtype=torch.int64)
        flat = [piece for own in rows for piece in own]
        self._check(flat)
        table[torch.arange(self.most) < counts[:, None]] = torch.tensor(flat, dtype=torch.int64)
        self._counts = torch.cat([self._counts, counts.to(self._counts.device)])
        self._table = torch.cat([self._table.reshape(-1, self.most), table.to(self._table.device)])

    def _check(self, pieces: list[int]) -> None:
        if (largest := max(pieces, default=0)) >= self._vocabulary:
            raise ModelError(
                f"the tokenizer makes piece {largest}, and the model knows {self._vocabulary}; save both again"
            )

    def _of(self, words: Sequence[str]) -> list[list[int]]:
        texts = [self.lead + word if word else "" for word in words]
        found = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        return [encoding.ids for encoding in found]


def data_words() -> frozenset[str]:
    """The words of the task's data and their candidates."""
    own = known_words()
    return own.union(*(candidates(word) for word in own))


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer of a folder, as tokenizers.Tokenizer; raises ModelError where there is none that is only data."""
    import transformers

    try:
        if (folder / "tokenizer.json").is_file():
            factory: Any = transformers.PreTrainedTokenizerFast
            found = factory(tokenizer_file=str(folder / "tokenizer.json")).backend_tokenizer
        else:
            has = [name for name in VOCABULARIES if (folder / name).is_file()]
            kind = {"vocab.txt": "BertTokenizerFast", "vocab.json": "RobertaTokenizerFast"}.get(has[0] if has else "")
            if kind is None:
                raise ModelError(
                    f"no tokenizer.json in {folder}; AutoTokenizer.from_pretrained(..., use_fast=True)"
                    ".save_pretrained(folder) writes it"
                )
            known = {name: folder / name for name in (*TOKENIZER, *VOCABULARIES) if (folder / name).is_file()}
            with staged(known) as alone:
                found = getattr(transformers, kind).from_pretrained(alone, local_files_only=True).backend_tokenizer
    except ModelError:
        raise
    except Exception as error:  # tokenizers raises bare Exceptions for what is malformed
        raise ModelError(f"{folder}: its tokenizer cannot be read: {str(error)[:200]}") from None
    found.no_padding()
    found.no_truncation()
    return found


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens before and after a text."""
    inner = tokenizer.encode("good", add_special_tokens=False).ids
    outer = tokenizer.encode("good", add_special_tokens=True).ids
    for start in range(len(outer) - len(inner) + 1):
        if inner and outer[start : start + len(inner)] == inner:
            return outer[:start], outer[start + len(inner) :]
    raise ModelError("the tokenizer makes other pieces of a text with special tokens around it, which is not supported")


def _lead(tokenizer: Any) -> str:
    """What must stand before each word, so that the pieces of a sentence are those of its words; raises ModelError."""
    sentences = [tokenise(text) for text in load_split("test").texts]
    words = sorted({word for sentence in sentences for word in sentence})
    for lead in _LEADS:
        alone = tokenizer.encode_batch([lead + word for word in words], add_special_tokens=False)
        own = {word: encoding.ids for word, encoding in zip(words, alone, strict=True)}
        texts = [lead + " ".join(sentence) for sentence in sentences]
        whole = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
        joined = [[piece for word in sentence for piece in own[word]] for sentence in sentences]
        if whole == joined:
            return lead
    raise ModelError(
        "the tokenizer's pieces of a word depend on the words beside it; expected WordPiece, BPE or Unigram"
    )
