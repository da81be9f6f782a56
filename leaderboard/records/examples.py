"""An example as it is shown to people: what it was, and what an attack made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from leaderboard.records.record import Cell


if TYPE_CHECKING:
    from numpy.typing import NDArray


Array: TypeAlias = "NDArray[Any]"
Medium = Literal["picture", "text", "sound", "episode"]


@dataclass(frozen=True, slots=True, eq=False)
class Disturbed:
    """One adversarial example.

    values: a picture [channels, height, width] in [0, 1], int16 samples of a sound, or the observations [steps,
    numbers] that an agent was shown. text: of a sentence. actions: int64 [steps], what the agent did.
    """

    medium: Medium
    values: Array | None = None
    text: str = ""
    actions: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """The example before it was disturbed. values, text: as a Disturbed has them; of an episode the true observations.

    truth: the label or the transcript, for people. rate_hz: of a sound. names: of an observation's numbers.
    """

    values: Array | None = None
    text: str = ""
    truth: str = ""
    rate_hz: int = 0
    names: tuple[str, ...] = ()


# Looks up what some examples of a cell were before, by their id; those that it does not know are left out.
Originals = Callable[[Cell, Mapping[str, Disturbed]], Mapping[str, Original]]
