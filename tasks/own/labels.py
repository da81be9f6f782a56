"""From whatever a label column holds to numbers and the names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adversarial.errors import DataError
from tasks.own.reading import Rows


def class_names(test: Rows, given: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes: as given, as the data set says, or what the column holds, in order."""
    if given:
        return tuple(given)
    if names := test.names_of("label"):
        return names
    found = {value for value in test.values_of("label") if value is not None}
    whole = all(isinstance(value, int) or (isinstance(value, float) and value.is_integer()) for value in found)
    return tuple(map(str, sorted(map(int, found)))) if whole else tuple(sorted(map(str, found)))


def label_of(value: Any, classes: Sequence[str], named: bool, where: str) -> int:
    """A label's number. named: whether the data set numbers its classes itself. Raises DataError."""
    if named and isinstance(value, int) and 0 <= value < len(classes):
        return value
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if not (named and isinstance(value, int)) and value is not None and text in classes:
        return classes.index(text)
    raise DataError(f"{where}: label {value!r} is none of {', '.join(classes)}; choose a split that has labels")
