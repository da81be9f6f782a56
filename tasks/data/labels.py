"""From whatever a label column holds to numbers and the names of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from adversarial.errors import DataError
from tasks.data.reading import Rows


_NUMBER: Final = re.compile(r"-?[0-9]{1,9}(\.0+)?")


def class_names(parts: Sequence[Rows], given: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes: as given, as the data set says, or what the column holds, in order."""
    if given:
        return tuple(given)
    if names := parts[0].names_of("label"):
        # Folders are numbered by the order of their names as text, in which 10 comes before 2.
        return tuple(sorted(names, key=int)) if all(name.isdecimal() for name in names) else names
    found = {value for rows in parts for value in rows.values_of("label") if value not in (None, "")}
    numbers = {value: _whole(value) for value in found}
    if all(number is not None for number in numbers.values()):
        counted = sorted({number for number in numbers.values() if number is not None})
        if len(counted) != 2 or 0 in counted:
            # What is below 0 says that there is no label, and is refused where it stands; but -1 and 1 are classes.
            counted = [number for number in counted if number >= 0]
        return tuple(map(str, counted))
    return tuple(sorted(map(str, found)))


def label_of(value: Any, classes: Sequence[str], names: Sequence[str], where: str) -> int:
    """A label's number: by its name, or as a number that counts the classes. names: what the data set itself calls
    them, in the order in which it numbers them, empty where it does not say. Raises DataError."""
    number = _whole(value)
    if value is not None:
        if names and number is not None:
            name = names[number] if 0 <= number < len(names) else None
        else:
            name = str(value if number is None else number)
        if name in classes:
            return classes.index(name)
        counted = len(names) == len(classes) if names else not any(name.isdecimal() for name in classes)
        if number is not None and counted and 0 <= number < len(classes):
            return number
    raise DataError(
        f"{where}: label {value!r} is none of {', '.join(classes)[:200]}; choose a split that has labels, or name the "
        "classes with --classes"
    )


def _whole(value: Any) -> int | None:
    """The number of a label that is one: 1, 1.0 and true, as text as well."""
    if isinstance(value, str):
        said = value.strip().lower()
        if said in ("true", "false"):
            return int(said == "true")
        return int(said.partition(".")[0]) if _NUMBER.fullmatch(said) else None
    return int(value) if isinstance(value, (int, float)) and float(value).is_integer() else None
