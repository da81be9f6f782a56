"""What an entry's function takes, and with which defaults, without importing its module: that would import torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import numbers
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from adversarial.entries import AttackEntry, Code, DefenseEntry
from adversarial.errors import DataError, InvalidOption, UnknownName
from adversarial.registry import resolve


def parameters(entry: AttackEntry | DefenseEntry) -> dict[str, Any]:
    """The parameters of an attack or a defense with their values: the function's defaults, changed as the entry says.

    Raises DataError for code that is not there, or that has a parameter without a default beside its first one.
    """
    known = _defaults(entry.code)
    for name, value in {**known, **entry.params}.items():
        if not isinstance(value, (str, int, float, bool, type(None))):
            raise DataError(
                f"{entry.kind} {entry.name}: {name} is {value!r:.80}; expected a number, a text, or nothing"
            )
    if odd := entry.params.keys() - known.keys():
        raise DataError(f"{entry.kind} {entry.name} sets {', '.join(sorted(odd))}, which its function does not take")
    return {**known, **entry.params}


def check_parameters(entry: AttackEntry | DefenseEntry, given: Mapping[str, Any]) -> None:
    """Raises InvalidOption for a parameter that the entry's function does not take, with the nearest names, and for
    a value of another type than its default."""
    known = parameters(entry)
    for name, value in given.items():
        if name not in known:
            unknown = UnknownName.among(f"parameter of {entry.name}", name, known)
            raise InvalidOption(f"{unknown}; it has {', '.join(known) or 'none'}")
        kind = type(known[name])
        fitting = {int: (numbers.Integral,), float: (numbers.Real,)}.get(kind, (kind,))
        if known[name] is not None and (not isinstance(value, fitting) or isinstance(value, bool) != (kind is bool)):
            raise InvalidOption(f"{entry.name}: {name} must be of type {kind.__name__}, got {value!r:.80}")


def _defaults(code: Code) -> dict[str, Any]:
    if isinstance(code, str):
        module, _, name = code.partition(":")
        if module not in sys.modules:
            return dict(_read(module, name))
        found: Callable[..., Any] = getattr(sys.modules[module], name)
    else:
        found = code
    (_, *options) = inspect.signature(found).parameters.values()
    for option in options:
        if option.default is option.empty:
            raise DataError(f"{found!r} has the parameter {option.name} without a default; an entry's code needs one")
    return {option.name: option.default for option in options}


@lru_cache(maxsize=256)
def _read(module: str, name: str) -> Mapping[str, Any]:
    """The defaults of a function of a module that is not imported, from its source."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise DataError(f"there is no module {module}, which a registry entry names")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            given = node.args
            (_, *positional), defaults = given.args, given.defaults
            if len(positional) > len(defaults) or None in given.kw_defaults:
                raise DataError(f"{module}:{name} has a parameter without a default; an entry's code needs one")
            found = [*zip(positional, defaults, strict=False), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
            try:
                return {argument.arg: ast.literal_eval(value) for argument, value in found if value is not None}
            except ValueError:  # a name in place of a literal
                break
    return _defaults(resolve(f"{module}:{name}"))  # a class, an object, a function that is made: it has to be imported
