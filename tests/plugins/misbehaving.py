"""A plugin of attacks that go wrong, each in a way that must fail its own cell only."""

from __future__ import annotations

import os
import time

from adversarial.entries import AttackEntry
from adversarial.problem import Problem


def crash(problem: Problem) -> None:
    """Raises in the middle of its work."""
    problem.evaluate(problem.space.null())
    raise ZeroDivisionError("a bug of the attack's own")


def vanish(problem: Problem) -> None:  # noqa: ARG001
    """Takes its whole process down, as running out of memory does."""
    os._exit(9)


def dawdle(problem: Problem) -> None:
    """Asks the victim for ever."""
    while True:
        problem.evaluate(problem.space.null())


def hang(problem: Problem) -> None:  # noqa: ARG001
    """Never asks again, so that no deadline of ours is seen."""
    time.sleep(600)


def overreach(problem: Problem) -> None:
    """Submits a perturbation over its budget."""
    problem.submit(problem.space.null() + 1.1 * problem.threat.radius)


def smear(problem: Problem) -> None:
    """Changes padding, where there is any."""
    problem.submit(problem.space.null() + 2.0**-15)


def overwrite(problem: Problem) -> None:
    """Writes into its input."""
    problem.inputs.values.add_(0.001)


def register(registry: object) -> None:
    """Adds all of them."""
    for function in (crash, vanish, dawdle, hang, overreach, smear, overwrite):
        registry.add(  # type: ignore[attr-defined]
            AttackEntry(
                name=function.__name__,
                code=function,
                summary=str(function.__doc__),
                access="gradient",
                needs=frozenset({"steps"}),
            )
        )
