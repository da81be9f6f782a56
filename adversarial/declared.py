"""Entries that stand beside their algorithms, read without importing these: they import torch."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any, TypeVar


E = TypeVar("E")


def declared(folder: Path, kind: type[E]) -> tuple[E, ...]:
    """What the modules of a folder assign to `ENTRIES`: literals of that kind of entry, in the order of the files."""
    names: dict[str, Any] = {"__builtins__": {}, kind.__name__: kind, "frozenset": frozenset}
    found: list[E] = []
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body if path.stem != "__init__" else ():
            if isinstance(node, ast.Assign) and any(
                isinstance(x, ast.Name) and x.id == "ENTRIES" for x in node.targets
            ):
                found += eval(compile(ast.Expression(node.value), str(path), "eval"), names)
    return tuple(found)
