"""Stored adversarial examples, read with numpy alone: which medium they are of shows in the names of the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from leaderboard.bundle.errors import BundleError
from leaderboard.bundle.tensors import header_length, read_header
from leaderboard.records.canonical import ResultError
from leaderboard.records.examples import Array, Disturbed


_LENGTH: Final = 8
_MOST_HEADER: Final = 1_000_000
_TYPES: Final = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2",
    "U32": "<u4", "I32": "<i4", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip


def read_tensors(data: bytes) -> dict[str, Array]:
    """The tensors of a safetensors file. Raises ResultError for a file that is none, or of a type numpy lacks."""
    try:
        length = header_length(data[:_LENGTH], len(data), "evidence", _MOST_HEADER)
        tensors = read_header(data[_LENGTH : _LENGTH + length], len(data), "evidence")
    except BundleError as error:
        raise ResultError(str(error)) from error
    unknown = sorted({one.dtype for one in tensors} - _TYPES.keys())
    if unknown:
        raise ResultError(f"evidence: cannot show tensors of type {', '.join(unknown)}")
    return {
        one.name: np.frombuffer(
            data, _TYPES[one.dtype], offset=one.start, count=int(np.prod(one.shape, dtype=np.int64))
        ).reshape(one.shape)
        for one in tensors
    }


def examples_of(tensors: Mapping[str, Array], rows: list[int]) -> list[Disturbed]:
    """Some of the examples of an evidence file, by their place; none where there is nothing to see or hear.

    Raises ResultError for tensors of other shapes or types than the tasks write.
    """
    if "images" in tensors:
        images = _shaped(tensors, "images", "f", (3, 4))
        return [
            Disturbed("picture", images[row] if images.ndim == 4 else images[row][None])
            for row in _within(rows, len(images))
        ]
    if "text" in tensors:
        parts = _cut(_shaped(tensors, "text", "u", (1,)), _shaped(tensors, "lengths", "i", (1,)), rows)
        return [Disturbed("text", text=part.tobytes().decode("utf-8", "replace")) for part in parts]
    if "samples" in tensors:
        parts = _cut(_shaped(tensors, "samples", "i", (1,)), _shaped(tensors, "lengths", "i", (1,)), rows)
        return [Disturbed("sound", part.astype(np.int16)) for part in parts]
    if "observations" in tensors:
        seen, acted = _shaped(tensors, "observations", "f", (3,)), _shaped(tensors, "actions", "i", (2,))
        if acted.shape != seen.shape[:2]:
            raise ResultError(f"evidence: {list(seen.shape)} observations and {list(acted.shape)} actions")
        found = _within(rows, seen.shape[1])
        return [Disturbed("episode", seen[:, row], actions=acted[:, row]) for row in found]
    return []


def _shaped(tensors: Mapping[str, Array], name: str, kind: str, dimensions: tuple[int, ...]) -> Array:
    found = tensors.get(name)
    if found is None or found.dtype.kind != kind or found.ndim not in dimensions:
        raise ResultError(f"evidence: tensor {name!r} is missing or not as the tasks write it")
    return found


def _cut(joined: Array, lengths: Array, rows: list[int]) -> list[Array]:
    ends = np.cumsum(lengths)
    if bool((lengths < 0).any()) or (len(ends) and int(ends[-1]) != len(joined)):
        raise ResultError("evidence: the lengths do not add up to what is stored")
    return [joined[ends[row] - lengths[row] : ends[row]] for row in _within(rows, len(lengths))]


def _within(rows: list[int], count: int) -> list[int]:
    if any(row >= count for row in rows):
        raise ResultError(f"evidence: holds {count} examples, the record names more")
    return rows
