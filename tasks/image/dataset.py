"""The digits: 1,797 images of 8 x 8 pixels with 17 grey levels, in a fixed stratified split. Imports no torch.

The images come with scikit-learn (Alpaydin & Kaynak 1998, from the UCI repository). The split orders each class by a
hash of the image's number, so it depends on no library's generator.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from adversarial.errors import UnavailableData, UnknownName


SPLITS: Final = ("train", "validation", "test")
PER_CLASS: Final = {"test": 40, "validation": 30}  # the rest trains

HASHES: Final = {
    "train": "66555b8951dc9b2520ac50066099e6c674856b6a5dea038e69fe8dd1b31a2931",
    "validation": "e7d8140f56f74b4625ffe92a99bd18579b23dd08240601585e3bb815066c97f0",
    "test": "674fb4979305c7591a5b0acfede092f5f65d9f1ed8fd3cf698bb87e1f2a36e24",
}


@dataclass(frozen=True, slots=True)
class Digits:
    """One split. ids: `digit-17`. images: float32 [examples, 1, 8, 8] in [0, 1]. labels: int64 [examples]."""

    ids: tuple[str, ...]
    images: NDArray[np.float32]
    labels: NDArray[np.int64]


def data_hash(split: str) -> str:
    """SHA-256 of a split's ids, images and labels, as pinned here; load_split refuses anything else."""
    if split not in HASHES:
        raise UnknownName.among("split", split, HASHES)
    return HASHES[split]


def load_split(split: str) -> Digits:
    """Loads a split; raises UnknownName, and DataError where the images are not those that the hash names."""
    expected = data_hash(split)
    from sklearn.datasets import load_digits

    raw: Any = load_digits()
    chosen = np.array(_members(split, raw.target), dtype=np.int64)
    images = (raw.images[chosen] / 16.0).astype(np.float32)[:, None]
    digits = Digits(tuple(f"digit-{i}" for i in chosen), images, raw.target[chosen].astype(np.int64))
    found = _digest(digits)
    if found != expected:
        raise UnavailableData(
            f"the {split} split of the digits has SHA-256 {found[:12]}..., expected {expected[:12]}...: "
            "scikit-learn ships other images; install a release between 1.5 and the newest one that passes the tests"
        )
    return digits


def _members(split: str, labels: NDArray[np.int64]) -> list[int]:
    members: list[int] = []
    for label in range(10):
        own = sorted(np.flatnonzero(labels == label).tolist(), key=lambda i: hashlib.sha256(b"digit-%d" % i).digest())
        first, second = PER_CLASS["test"], PER_CLASS["test"] + PER_CLASS["validation"]
        members += {"test": own[:first], "validation": own[first:second], "train": own[second:]}[split]
    return sorted(members)


def _digest(digits: Digits) -> str:
    digest = hashlib.sha256("\n".join(digits.ids).encode())
    digest.update(np.ascontiguousarray(digits.images, dtype="<f4").tobytes())
    digest.update(np.ascontiguousarray(digits.labels, dtype="<i8").tobytes())
    return digest.hexdigest()
