"""The reviews and the tables of replacements, each file pinned by its hash. Imports no torch.

Training reviews come from a grammar; those of validation and test are written by hand. No sentence is shared.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from adversarial.errors import UnavailableData, UnknownName


FOLDER: Final = Path(__file__).parent / "data"
SPLITS: Final = ("train", "validation", "test")
LABELS: Final = ("negative", "positive")
DOMAINS: Final = ("film", "food", "product", "place")
STYLES: Final = ("plain", "negated", "contrast", "sarcastic")
HEADER: Final = ("text", "label", "domain", "style")

HASHES: Final = {
    "train.tsv": "cbf0a9deba7e75b53c0481d4448ae5330411a85cb3db9bc839ce672cb1be6c54",
    "validation.tsv": "11ecaac8b3aa85483610da4398bb17002370ada5e50ebdb63b2ecde61dda661e",
    "test.tsv": "942ede9c11806d1391e3c6e26766403027529efeac20ef1e12ede08a9ec8e508",
    "synonyms.tsv": "955c87283cce44be590c4a951f2c73bb6bdb032fda79b669ea4587e991b6d0e5",
    "keyboard.tsv": "8d45a7c3d486a92f392040dfdb5a06fd861e07cd99f171df52c8620b548f50d1",
}


@dataclass(frozen=True, slots=True)
class Reviews:
    """One split.

    ids: `test-17`, by line. labels: places in LABELS, so 1 is positive. domains: names. styles: places in STYLES.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    labels: tuple[int, ...]
    domains: tuple[str, ...]
    styles: tuple[int, ...]


def data_hash(split: str) -> str:
    """SHA-256 of the split's name and of every data file: known words decide which misspellings are candidates, so
    each file has a say in the attack space. Raises UnknownName."""
    if split not in SPLITS:
        raise UnknownName.among("split", split, SPLITS)
    lines = [split, *(f"{name} {HASHES[name]}" for name in sorted(HASHES))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@lru_cache(maxsize=3)
def load_split(split: str) -> Reviews:
    """Loads a split; raises UnknownName, and DataError where the file is not the one that the hash names."""
    if split not in SPLITS:
        raise UnknownName.among("split", split, SPLITS)
    rows = _rows(f"{split}.tsv")
    if tuple(rows[0]) != HEADER:
        raise UnavailableData(f"{split}.tsv must begin with the columns {', '.join(HEADER)}, got {', '.join(rows[0])}")
    try:
        fields = [(text, LABELS.index(label), domain, STYLES.index(style)) for text, label, domain, style in rows[1:]]
    except ValueError as error:
        raise UnavailableData(f"{split}.tsv holds a malformed line: {error}") from None
    return Reviews(
        ids=tuple(f"{split}-{number}" for number in range(len(fields))),
        texts=tuple(text for text, _, _, _ in fields),
        labels=tuple(label for _, label, _, _ in fields),
        domains=tuple(domain for _, _, domain, _ in fields),
        styles=tuple(style for _, _, _, style in fields),
    )


@lru_cache(maxsize=1)
def load_synonyms() -> MappingProxyType[str, tuple[str, ...]]:
    """Words of the same meaning by word, as the file lists them; raises UnavailableData where it has changed."""
    return _table("synonyms.tsv")


@lru_cache(maxsize=1)
def load_keyboard() -> MappingProxyType[str, tuple[str, ...]]:
    """The keys beside each letter's own; raises UnavailableData where the file has changed."""
    return _table("keyboard.tsv")


def _table(name: str) -> MappingProxyType[str, tuple[str, ...]]:
    return MappingProxyType({row[0]: tuple(row[1].split()) for row in _rows(name) if len(row) == 2})


def _rows(name: str) -> list[list[str]]:
    path = FOLDER / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnavailableData(f"cannot read {path}: {error.strerror}; install robustarena again") from None
    found, expected = hashlib.sha256(content).hexdigest(), HASHES[name]
    if found != expected:
        raise UnavailableData(
            f"{path} has SHA-256 {found[:12]}..., expected {expected[:12]}...: it was changed after the release; "
            "restore the file, or results stop being comparable"
        )
    return [line.split("\t") for line in content.decode("utf-8").splitlines()]
