"""Which of a classifier's outputs stand for the task's classes, by the names that its config.json gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adversarial.errors import ModelError


_UNNAMED: Final = re.compile(r"label[ _-]?(\d+)")
_SHOWN: Final = 12  # of a model's labels in an error


@dataclass(frozen=True, slots=True)
class LabelMap:
    """columns: for each class of the task, the model's output. names: what the model calls it. count: of its outputs.

    Outputs that are no class of the task are left out: its decision is among the task's classes.
    """

    columns: tuple[int, ...]
    names: tuple[str, ...]
    count: int

    @property
    def whole(self) -> bool:
        """Whether the outputs are the task's classes, in the task's order."""
        return self.columns == tuple(range(self.count))

    def __str__(self) -> str:
        return ", ".join(f"{i}={name}" for i, name in zip(self.columns, self.names, strict=True))


def label_map(config: Any, classes: Mapping[str, Sequence[str]]) -> LabelMap:
    """Finds the task's classes among a config's id2label.

    classes: by the name of each class, all that models call it, in lower case. LABEL_0, LABEL_1, ... count in the
    task's order where there are as many as classes. Raises ModelError with what was expected and what is there.
    """
    names = {int(place): str(name) for place, name in dict(config.id2label).items()}
    found_names = {place: plain(name) for place, name in names.items()}
    numbers = {place: _UNNAMED.fullmatch(name) for place, name in found_names.items()}
    if sorted(names) != list(range(len(names))):
        raise ModelError(f"config.json: id2label must name the outputs 0 to {len(names) - 1}, got {_listed(names)}")
    if all(numbers.values()):
        own = {int(found[1]): place for place, found in numbers.items() if found is not None}
        if sorted(own) == list(range(len(classes))) == sorted(names):
            columns = tuple(own[number] for number in range(len(classes)))
            return LabelMap(columns, tuple(names[place] for place in columns), len(names))
    found_columns = []
    for name, accepted in classes.items():
        own_places = [place for place, label in found_names.items() if label in accepted]
        if len(own_places) != 1:
            what = "no output is called" if not own_places else f"{len(own_places)} outputs are called"
            raise ModelError(
                f"config.json: {what} {name!r} ({' or '.join(accepted)}); expected id2label to name each of "
                f"{', '.join(classes)} once, or LABEL_0 to LABEL_{len(classes) - 1} in that order; "
                f"found {_listed(names)}"
            )
        found_columns.append(own_places[0])
    return LabelMap(tuple(found_columns), tuple(names[place] for place in found_columns), len(names))


def plain(name: str) -> str:
    """A label as it is compared."""
    return " ".join(name.strip().lower().replace("_", " ").split())


def _listed(names: Mapping[int, str]) -> str:
    shown = [f"{place}: {name!r:.40}" for place, name in sorted(names.items())[:_SHOWN]]
    return ", ".join(shown) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")
