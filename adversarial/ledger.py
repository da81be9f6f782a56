"""What an attack has spent, and when it must stop."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from adversarial.errors import DeadlineReached


@dataclass(slots=True)
class Ledger:
    """Counts in rows: one forward of a batch of 32 counts 32.

    forwards, backwards: passes through the model. queries: answers that the attacker saw. environment_steps: steps
    of real environments. deadline: in seconds of time.monotonic().
    """

    forwards: int = 0
    backwards: int = 0
    queries: int = 0
    environment_steps: int = 0
    deadline: float = math.inf

    def forward(self, rows: int, queries: int | None = None) -> None:
        """Notes a forward that is about to run; raises DeadlineReached where the time is over."""
        if time.monotonic() > self.deadline:
            raise DeadlineReached("the cell's time is over; raise --timeout or choose fewer steps")
        self.forwards += rows
        self.queries += rows if queries is None else queries

    def backward(self, rows: int) -> None:
        self.backwards += rows
