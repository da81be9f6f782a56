"""Which of a classifier's outputs stand for the task's classes, by the names that its config.json gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from adversarial.errors import ModelError


if TYPE_CHECKING:
    from torch import Tensor


_COUNTED: Final = re.compile(r"(?:label[ -]?)?(\d{1,9})")
_SHOWN: Final = 12  # of a model's labels in an error


@dataclass(frozen=True, slots=True)
class LabelMap:
    """columns: for each class of the task, the model's output. names: what the model calls it. others: the outputs that
    are no class. counted: whether the names only count the outputs, so that their order is taken on trust."""

    columns: tuple[int, ...]
    names: tuple[str, ...]
    others: tuple[int, ...] = ()
    counted: bool = False

    def scores(self, logits: Tensor) -> Tensor:
        """From [batch, outputs] to [batch, classes]; where outputs are no class, one column more with their largest.

        So the decision is the model's own: where it is none of the classes, it is wrong.
        """
        import torch

        if not self.others:
            whole = self.columns == tuple(range(len(self.columns)))
            return logits if whole else logits[:, list(self.columns)]
        beyond = logits[:, list(self.others)].amax(1, keepdim=True)
        return torch.cat([logits[:, list(self.columns)], beyond], 1)

    def notes(self) -> dict[str, str]:
        """What the model's owner should know of it, by what it is about."""
        found = {}
        if self.counted:
            found["labels"] = f"id2label only counts the outputs, so the order of the classes is assumed: {self}"
        if self.others:
            found["others"] = (
                f"{len(self.others)} of {len(self.columns) + len(self.others)} outputs are no class of the data; "
                "a decision for one of them counts as wrong"
            )
        return found

    def __str__(self) -> str:
        return ", ".join(f"{i}={name}" for i, name in zip(self.columns, self.names, strict=True))


def label_map(config: Any, classes: Mapping[str, Sequence[str]]) -> LabelMap:
    """Finds the task's classes among a config's id2label.

    classes: by the name of each class, all that models call it, in lower case. LABEL_0, LABEL_1, ... or 0, 1, ... count
    in the task's order where there are as many as classes. Raises ModelError with what was expected and what is there.
    """
    names = names_of(config)
    found = {place: plain(name) for place, name in names.items()}
    named = [[place for place, label in found.items() if label in accepted] for accepted in classes.values()]
    columns = tuple(places[0] for places in named if len(places) == 1)
    if counted := len(columns) < len(classes):
        columns = _counted(found, named)
    if not columns:
        name, places = next(pair for pair in zip(classes, named, strict=True) if len(pair[1]) != 1)
        what = "no output is called" if not places else f"{len(places)} outputs are called"
        raise ModelError(
            f"config.json: {what} {name!r} ({' or '.join(classes[name])}); expected id2label to name each of "
            f"{', '.join(classes)} once, or LABEL_0 to LABEL_{len(classes) - 1} in that order; found {listed(names)}"
        )
    others = tuple(sorted(set(names) - set(columns)))
    return LabelMap(columns, tuple(names[place] for place in columns), others, counted)


def _counted(found: Mapping[int, str], named: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The outputs in the order in which their names count them; empty where these do not, or where one of them is the
    name of a class in another place (the classes 1 and 2 for the outputs 0 and 1)."""
    numbers = {place: _COUNTED.fullmatch(name) for place, name in found.items()}
    own = {int(number[1]): place for place, number in numbers.items() if number is not None}
    if not sorted(own) == list(range(len(named))) == list(range(len(found))):
        return ()
    columns = tuple(own[number] for number in range(len(named)))
    return columns if all(set(places) <= {column} for column, places in zip(columns, named, strict=True)) else ()


def names_of(config: Any) -> dict[int, str]:
    """What a config calls its outputs, by their places; raises ModelError where some have no name."""
    names = {int(place): str(name) for place, name in dict(config.id2label).items()}
    if sorted(names) != list(range(len(names))):
        raise ModelError(f"config.json: id2label must name the outputs 0 to {len(names) - 1}, got {listed(names)}")
    return names


def plain(name: str) -> str:
    """A label as it is compared."""
    return " ".join(name.strip().lower().replace("_", " ").split())


def listed(names: Mapping[int, str]) -> str:
    """Outputs and what they are called, the first of them."""
    shown = [f"{place}: {name!r:.40}" for place, name in sorted(names.items())[:_SHOWN]]
    return ", ".join(shown) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")
