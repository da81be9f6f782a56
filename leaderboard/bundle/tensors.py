"""The safetensors format, checked without loading it: eight bytes of length, a JSON header, tensors end to end.

https://github.com/huggingface/safetensors - the readers there accept less than what is refused here, but do not say
where; and a file that two readers understand in two ways is worth nothing as evidence.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np

from leaderboard.bundle.documents import read_json
from leaderboard.bundle.errors import BundleError, shown


SIZES: Final = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64"), 8),
}
_LENGTH = 8
_MOST_DIMENSIONS = 16
# Bits that are all set in infinities and NaN, and the type that they are read as.
_EXPONENTS: Final = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F8_E5M2": ("u1", 0x7C),
    "F8_E4M3": ("u1", 0x7F),
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file. start, end: its bytes, counted from the start of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def check_tensors(chunks: Iterable[bytes], size: int, where: str, header_limit: int, *, finite: bool) -> None:
    """Reads a safetensors file once, from its chunks, and raises BundleError for the first thing that is wrong.

    size: of the file, in bytes. finite: whether numbers that are not finite are refused.
    """
    stream = iter(chunks)
    data = _at_least(b"", _LENGTH, stream)
    length = header_length(data[:_LENGTH], size, where, header_limit)
    data = _at_least(data, _LENGTH + length, stream)
    tensors = read_header(data[_LENGTH : _LENGTH + length], size, where)
    position = _LENGTH + length
    check = _Finite(tensors, where) if finite else None
    for chunk in chain((data[position:],), stream):
        if check is not None:
            check.feed(chunk, position)
        position += len(chunk)
    if position != size:
        raise BundleError(f"{where}: expected {size} bytes, found {position}")


def header_length(data: bytes, size: int, where: str, limit: int) -> int:
    """The length that the first eight bytes say. Raises BundleError for one that cannot be."""
    if len(data) < _LENGTH:
        raise BundleError(f"{where}: not safetensors: {len(data)} bytes, expected at least {_LENGTH}")
    length = int.from_bytes(data, "little")
    if not 2 <= length <= min(limit, size - _LENGTH):
        raise BundleError(
            f"{where}: not safetensors: says a header of {length} bytes, expected 2 to {min(limit, size - _LENGTH)}"
        )
    return length


def read_header(data: bytes, size: int, where: str) -> tuple[Tensor, ...]:
    """The tensors in the order of their bytes. Raises BundleError unless they fill the file without gap or overlap."""
    if not data.startswith(b"{"):
        raise BundleError(f"{where}: not safetensors: the header starts with {shown(data[:4])}, expected '{{'")
    plain = read_json(data.rstrip(b" "), f"{where}: header")
    if not isinstance(plain, dict):
        raise BundleError(f"{where}: header: expected an object")
    facts = plain.pop("__metadata__", {})
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise BundleError(f"{where}: header: __metadata__ holds more than texts")
    base = _LENGTH + len(data)
    tensors = sorted((_tensor(name, value, base, where) for name, value in plain.items()), key=_order)
    position = base
    for tensor in tensors:
        if tensor.start != position:
            word = "overlaps" if tensor.start < position else "leaves a gap to"
            raise BundleError(f"{where}: tensor {shown(tensor.name)} {word} the one before it")
        position = tensor.end
    if position != size:
        raise BundleError(f"{where}: the tensors end at byte {position}, the file at {size}")
    return tuple(tensors)


def _order(tensor: Tensor) -> tuple[int, int]:
    return tensor.start, tensor.end


def _tensor(name: str, value: Any, base: int, where: str) -> Tensor:
    what = f"{where}: tensor {shown(name)}"
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise BundleError(f"{what}: expected dtype, shape and data_offsets, found {shown(value)}")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        raise BundleError(f"{what}: expected a dtype of {', '.join(SIZES)}, found {shown(dtype)}")
    if not _counts(shape) or len(shape) > _MOST_DIMENSIONS:
        raise BundleError(f"{what}: shape {shown(shape)} is no list of at most {_MOST_DIMENSIONS} sizes")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise BundleError(f"{what}: data_offsets {shown(offsets)} are not a start and an end")
    if offsets[1] - offsets[0] != math.prod(shape) * SIZES[dtype]:
        raise BundleError(
            f"{what}: {dtype} {shown(shape)} takes {shown(math.prod(shape) * SIZES[dtype])} bytes, "
            f"the offsets give {offsets[1] - offsets[0]}"
        )
    return Tensor(name, dtype, tuple(shape), base + offsets[0], base + offsets[1])


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < 2**48 for one in value)


def _at_least(data: bytes, count: int, stream: Iterator[bytes]) -> bytes:
    parts, have = [data], len(data)
    while have < count and (chunk := next(stream, b"")):
        parts.append(chunk)
        have += len(chunk)
    return b"".join(parts)


class _Finite:
    """Looks at every number once, also at those that lie across two chunks."""

    def __init__(self, tensors: Iterable[Tensor], where: str) -> None:
        self._left = [one for one in tensors if one.end > one.start and one.dtype in _EXPONENTS]
        self._left.reverse()
        self._where = where
        self._tail = b""

    def feed(self, chunk: bytes, position: int) -> None:
        """The bytes from a position of the file; called with all of them, in order."""
        end = position + len(chunk)
        window, base = self._tail + chunk, position - len(self._tail)
        self._tail = window[-7:]
        for tensor in reversed(self._left):
            if tensor.start >= end:
                break
            width = SIZES[tensor.dtype]
            low = tensor.start + (max(position, tensor.start) - tensor.start) // width * width
            high = tensor.start + (min(end, tensor.end) - tensor.start) // width * width
            self._look(tensor, window[low - base : high - base])
        while self._left and self._left[-1].end <= end:
            self._left.pop()

    def _look(self, tensor: Tensor, data: bytes) -> None:
        kind, exponent = _EXPONENTS[tensor.dtype]
        numbers = np.frombuffer(data, dtype=kind)
        if bool(((numbers & exponent) == exponent).any()):
            raise BundleError(f"{self._where}: tensor {shown(tensor.name)} holds a number that is not finite")
