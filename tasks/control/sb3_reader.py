"""Tensors out of a checkpoint of torch.save, by a reader that knows only tensors and numbers.

A checkpoint is a zip of raw storages and one pickle, which says what tensors lie in them. That pickle is never run: its
opcodes are walked through, and those that a dict of tensors does not need are refused, with every name but the five of
`_KNOWN`.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from adversarial.errors import ModelError
from tasks.models.zips import MOST_BYTES, members


MOST_PICKLE: Final = 2**20  # bytes of the pickle that describes the tensors
_DTYPES: Final[Mapping[str, torch.dtype]] = {
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch HalfStorage": torch.float16,
}
_DICT: Final = "collections OrderedDict"
_REBUILD: Final = "torch._utils _rebuild_tensor_v2"
_KNOWN: Final = frozenset({_DICT, _REBUILD, *_DTYPES})


def tensors(data: bytes, what: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint that torch.save wrote, by name.

    Raises ModelError for a pickle outside of a zip, for anything in the checkpoint that is not a tensor, a number or a
    name, and for tensors that reach out of their storages.
    """
    files = members(data, what)
    pickles = [name for name in files if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ModelError(f"{what} is not a checkpoint of torch.save: it holds {len(pickles)} files data.pkl, not one")
    root = pickles[0].removesuffix("data.pkl")
    plain = re.compile(re.escape(root) + r"(data\.pkl|data/\d+|version|byteorder|\.data/serialization_id|\.[a-z_]+)")
    for name in files:
        if not plain.fullmatch(name):
            raise ModelError(f"{what} holds {name}, which no checkpoint of tensors has; code is never loaded")
    if files.get(f"{root}byteorder", b"little") != b"little":
        raise ModelError(f"{what} was written on a big-endian machine; save it again on another one")
    if len(files[pickles[0]]) > MOST_PICKLE:
        raise ModelError(f"{what}: the description of its tensors has more than {MOST_PICKLE} bytes")
    storages = {name.removeprefix(f"{root}data/"): raw for name, raw in files.items() if "/data/" in name}
    return _Machine(what, storages).run(files[pickles[0]])


@dataclass(frozen=True, slots=True)
class _Known:
    """A name that the pickle may mention; it stands for nothing but itself."""

    name: str


@dataclass(frozen=True, slots=True)
class _Storage:
    values: Tensor


class _Mark:
    """Where a group of values begins on the stack."""


@dataclass(slots=True)
class _Machine:
    """Walks a pickle's opcodes. Values on the stack are never printed: shared tuples can nest without end."""

    what: str
    storages: Mapping[str, bytes]
    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    elements: int = 0

    def run(self, pickle: bytes) -> dict[str, Tensor]:
        try:
            for opcode, argument, _ in pickletools.genops(pickle):
                self._step(opcode.name, argument)
        except ModelError:
            raise
        except (IndexError, KeyError, ValueError, TypeError) as error:
            raise self._refused(f"its description of tensors is damaged ({type(error).__name__})") from None
        (result,) = self.stack if len(self.stack) == 1 else (None,)
        if not isinstance(result, dict) or not all(isinstance(value, Tensor) for value in result.values()):
            raise self._refused("expected a dict of tensors by name")
        return result

    def _refused(self, why: str) -> ModelError:
        return ModelError(f"{self.what} is refused: {why}. Only tensors by name are read, and nothing is unpickled")

    def _step(self, name: str, argument: object) -> None:
        stack = self.stack
        if name in ("PROTO", "FRAME", "STOP"):
            return
        if name in ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"):
            stack.append(argument)
        elif name in ("NEWTRUE", "NEWFALSE", "NONE"):
            stack.append({"NEWTRUE": True, "NEWFALSE": False, "NONE": None}[name])
        elif name == "MARK":
            stack.append(_Mark())
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self._pop(int(name[-1]))))
        elif name == "TUPLE":
            stack.append(tuple(self._group()))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else _whole(argument)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[_whole(argument)])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            text = " ".join(map(_text, self._pop(2))) if name == "STACK_GLOBAL" else _text(argument)
            if text not in _KNOWN:
                raise self._refused(f"it names {text[:80]!r}, which is code or another kind of number than float")
            stack.append(_Known(text))
        elif name == "BINPERSID":
            stack.append(self._storage(*_parts(stack.pop(), 5)))
        elif name == "REDUCE":
            function, arguments = self._pop(2)
            stack.append(self._made(function, arguments))
        elif name in ("SETITEM", "SETITEMS"):
            pairs = self._pop(2) if name == "SETITEM" else self._group()
            self._fill(stack[-1], pairs)
        elif name == "BUILD":
            (state,) = self._pop(1)
            # What torch writes beside the tensors: the versions of the modules that they came from.
            if not isinstance(stack[-1], dict) or not isinstance(state, dict) or set(state) != {"_metadata"}:
                raise self._refused("it sets attributes of an object")
        else:
            raise self._refused(f"it holds the instruction {name}")

    def _pop(self, count: int) -> list[object]:
        popped = [self.stack.pop() for _ in range(count)][::-1]
        if any(isinstance(value, _Mark) for value in popped):
            raise ValueError("a group is not closed")
        return popped

    def _group(self) -> list[object]:
        found: list[object] = []
        while not isinstance(value := self.stack.pop(), _Mark):
            found.append(value)
        return found[::-1]

    def _fill(self, target: object, pairs: list[object]) -> None:
        if not isinstance(target, dict) or len(pairs) % 2:
            raise self._refused("it fills something that is no dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if _text(key) in target:
                raise self._refused(f"it holds {_text(key)[:80]!r} twice")
            target[key] = value

    def _storage(self, kind: object, dtype: object, key: object, _place: object, count: object) -> _Storage:
        if kind != "storage" or not isinstance(dtype, _Known) or dtype.name not in _DTYPES:
            raise self._refused("its storages are not plain floating-point numbers")
        raw, expected = self.storages[_text(key)], _DTYPES[dtype.name]
        if not 0 < _whole(count) * expected.itemsize == len(raw):
            raise self._refused(f"the storage {_text(key)[:20]} has {len(raw)} bytes, not what its description says")
        return _Storage(torch.frombuffer(bytearray(raw), dtype=expected))

    def _made(self, function: object, arguments: object) -> object:
        if not isinstance(function, _Known):
            raise self._refused("it calls something that is no name")
        if function.name == _DICT:
            _parts(arguments, 0)
            return {}
        if function.name != _REBUILD:
            raise self._refused(f"it calls {function.name!r}")
        storage, offset, size, stride, _grad, _hooks = _parts(arguments, 6)
        if not isinstance(storage, _Storage) or not isinstance(size, tuple):
            raise self._refused("it makes a tensor of something that is no storage")
        shape = tuple(map(_whole, size))
        strides, start = tuple(map(_whole, _parts(stride, len(shape)))), _whole(offset)
        count = math.prod(shape)
        last = start + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
        if not 0 < count <= len(storage.values) or last >= len(storage.values):
            raise self._refused("a tensor reaches out of its storage")
        self.elements += count
        if self.elements * storage.values.itemsize > MOST_BYTES:
            raise self._refused(f"its tensors have more than {MOST_BYTES} bytes")
        return storage.values.as_strided(shape, strides, start).clone(memory_format=torch.contiguous_format)


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("expected a whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("expected text")
    return value


def _parts(value: object, count: int) -> tuple[object, ...]:
    if not isinstance(value, tuple) or len(value) != count:
        raise TypeError(f"expected {count} values")
    return value
