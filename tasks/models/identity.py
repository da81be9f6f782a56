"""What a model of foreign code knows: every tensor and array that can be reached from it, wherever it keeps them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn


_OF_TORCH: Final = frozenset(vars(nn.Module()))  # a module's own books: its weights are asked for by name
_NAMING: Final = (str, int, float, tuple, type(None))  # keys that are the same in each process


class _Place(NamedTuple):
    """A value on the way. own: whether the user's code keeps it; listed: whether in a list or a dictionary."""

    path: str
    value: Any
    own: bool = True
    listed: bool = False


def weights_hash(roots: Mapping[str, object], own: Collection[str]) -> str:
    """SHA-256 over names, types, shapes and bytes. own: names of the modules that the user wrote.

    Numbers count where the user's code keeps them in lists or dictionaries, as weights read from JSON are; single ones
    do not: they may be times or counts. Nothing is called on objects of others.
    """
    digest = hashlib.sha256()
    for line in sorted(_lines(roots, frozenset(own))):
        digest.update(line.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def _lines(roots: Mapping[str, object], own: frozenset[str]) -> Iterator[str]:
    seen: dict[int, object] = {}  # kept alive, or another object might get its id
    waiting = [_Place(name, value) for name, value in roots.items()]
    while waiting:
        place = waiting.pop()
        value = place.value
        if isinstance(value, Tensor):
            yield f"{place.path} {value.dtype} {tuple(value.shape)} {_tensor_hash(value)}"
        elif isinstance(value, np.ndarray):
            yield f"{place.path} {value.dtype} {value.shape} {_array_hash(value)}"
        elif isinstance(value, (int, float, complex)):
            if place.own and place.listed:
                yield f"{place.path} {value!r}"
        elif id(value) not in seen:
            seen[id(value)] = value
            waiting += _inside(place, own)


def _inside(place: _Place, own: frozenset[str]) -> Iterator[_Place]:
    path, value, kept, _ = place
    match value:
        case str() | bytes() | ModuleType():
            return
        case type():
            if value.__module__ in own:
                yield from _named(path, ((name, one) for name, one in vars(value).items() if name[:2] != "__"), True)
        case dict():
            names = (key if isinstance(key, _NAMING) else place for place, key in enumerate(value))
            yield from (_Place(f"{path}[{n!r}]", one, kept, True) for n, one in zip(names, value.values(), strict=True))
        case list() | tuple():
            yield from (_Place(f"{path}[{n}]", one, kept, True) for n, one in enumerate(value))
        case set() | frozenset():
            yield from (_Place(f"{path}[{n}]", one, kept, True) for n, one in enumerate(sorted(value, key=repr)))
        case FunctionType():
            closed = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
            parts = enumerate((closed, value.__defaults__, value.__kwdefaults__))
            yield from (_Place(f"{path}({n})", part, value.__module__ in own) for n, part in parts)
        case MethodType():
            yield from (_Place(path, part, kept) for part in (value.__self__, value.__func__))
        case functools.partial():
            held = enumerate((value.func, value.args, value.keywords))
            yield from (_Place(f"{path}({n})", part, kept) for n, part in held)
        case _:
            yield from _named(path, _attributes(value), type(value).__module__ in own)


def _named(path: str, values: Iterable[tuple[str, Any]], own: bool) -> Iterator[_Place]:
    return (_Place(f"{path}.{name}", value, own) for name, value in values)


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object keeps, read where it lies: a property of the same name is not asked."""
    kept = vars(value) if hasattr(value, "__dict__") else {}
    if isinstance(value, nn.Module):
        yield from value.named_parameters(recurse=False)
        yield from value.named_buffers(recurse=False)
        yield from value.named_children()
        kept = {name: one for name, one in kept.items() if name not in _OF_TORCH}
    yield from kept.items()
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            descriptor = vars(kind).get(name)
            if descriptor is not None and hasattr(type(descriptor), "__get__"):
                try:
                    yield name, descriptor.__get__(value)
                except AttributeError:  # nothing was put there
                    continue


def _tensor_hash(values: Tensor) -> str:
    try:
        found = values.detach().resolve_conj().resolve_neg()
        found = found.dequantize() if found.is_quantized else found
        found = found.to_dense() if found.layout != torch.strided else found
        return _array_hash(found.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    except (RuntimeError, TypeError, NotImplementedError):  # without bytes of its own, as on the device `meta`
        return "no bytes"


def _array_hash(values: np.ndarray[Any, Any]) -> str:
    if values.dtype.hasobject:
        return hashlib.sha256(repr(values.tolist()).encode()).hexdigest()
    return hashlib.sha256(values.tobytes()).hexdigest()
