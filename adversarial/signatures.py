"""What an entry's function takes, and with which defaults, without importing its module: that would import torch."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from adversarial.entries import AttackEntry, Code, DefenseEntry
from adversarial.errors import DataError, InvalidOption, UnknownName


def parameters(entry: AttackEntry | DefenseEntry) -> dict[str, Any]:
    """The parameters of an attack or a defense with their values: the function's defaults, changed as the entry says.

    Raises DataError for code that is not there, or that has a parameter without a default beside its first one.
    """
    known = _defaults(entry.code)
    if odd := entry.params.keys() - known.keys():
        raise DataError(f"{entry.kind} {entry.name} sets {', '.join(sorted(odd))}, which its function does not take")
    return {**known, **entry.params}


def check_parameters(entry: AttackEntry | DefenseEntry, given: Mapping[str, Any]) -> None:
    """Raises InvalidOption for a parameter that the entry's function does not take, with the nearest names."""
    known = parameters(entry)
    for name in given:
        if name not in known:
            unknown = UnknownName.among(f"parameter of {entry.name}", name, known)
            raise InvalidOption(f"{unknown}; it has {', '.join(known) or 'none'}")


def _defaults(code: Code) -> dict[str, Any]:
    if isinstance(code, str):
        module, _, name = code.partition(":")
        if module not in sys.modules:
            return dict(_read(module, name))
        found: Callable[..., Any] = getattr(sys.modules[module], name)
    else:
        found = code
    (_, *options) = inspect.signature(found).parameters.values()
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
            found = zip(given.kwonlyargs, given.kw_defaults, strict=True)
            return {argument.arg: ast.literal_eval(value) for argument, value in found if value is not None}
    raise DataError(f"{module} has no function {name!r}, which a registry entry names")
