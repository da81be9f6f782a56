"""The errors that the project raises on purpose, and the one root of them all.

    RobustArenaError
    ├── UnknownName (LookupError)          no such task, model, attack, defense, suite; says the nearest names
    ├── DuplicateName (ValueError)         a name registered twice
    ├── InvalidThreat (ValueError)         a threat that cannot be parsed or does not fit its space
    ├── InvalidOption (ValueError)         an option outside of its range
    ├── NotApplicable (TypeError)          an attack that does not fit a victim or a surface: an n/a cell
    ├── AccessDenied (PermissionError)     an attack asked for more than its threat allows
    ├── QueryLimitReached (RuntimeError)   a row asked for more queries than its threat allows
    ├── DeadlineReached (TimeoutError)     a cell ran out of time
    ├── AuditFailure (ValueError)          an attack broke the rules: over budget, padding touched, input changed
    ├── ModelError (ValueError)            weights or cards that cannot be used
    ├── DataError (ValueError)             data that is missing, changed or malformed
    ├── MachineFault (OSError)             memory, files or packages that this machine lacks
    └── MissingDependency (ImportError)    an optional package is not installed; says the command that installs it

Each also derives from the builtin in brackets, so that callers who know nothing of us catch it too. Errors of one
place alone (a record, a bundle, a database) are defined there, below the same root; a command that meets any of them
ends in its text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RobustArenaError(Exception):
    """Base of all errors raised on purpose."""

    def __str__(self) -> str:
        # LookupError and ImportError would print their argument's repr or drop parts of it.
        return str(self.args[0]) if self.args else ""


class UnknownName(RobustArenaError, LookupError):
    """No entry of that name."""

    @classmethod
    def among(cls, kind: str, name: str, names: Iterable[str]) -> UnknownName:
        """Says the nearest names, or all of them where none is near.

        >>> str(UnknownName.among("attack", "pgdd", ["pgd", "fgsm"]))
        "no attack is called 'pgdd'; did you mean 'pgd'?"
        """
        known = sorted(names)
        near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
        if near:
            hint = "did you mean " + " or ".join(repr(candidate) for candidate in near) + "?"
        elif known:
            hint = "known: " + ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        else:
            hint = "none is registered"
        return cls(f"no {kind} is called {name!r}; {hint}")


class DuplicateName(RobustArenaError, ValueError):
    """A name is registered twice."""


class InvalidThreat(RobustArenaError, ValueError):
    """A threat that cannot be parsed, or whose norm does not belong to its surface."""


class InvalidOption(RobustArenaError, ValueError):
    """An option outside of its range."""


class NotApplicable(RobustArenaError, TypeError):
    """An attack that does not fit its victim or surface. Becomes an `n/a` cell with this text as its reason."""


class AccessDenied(RobustArenaError, PermissionError):
    """An attack asked for more than its threat allows."""


class QueryLimitReached(RobustArenaError, RuntimeError):
    """A row would exceed the threat's query limit. The harness takes it as the end of the attack."""


class DeadlineReached(RobustArenaError, TimeoutError):
    """A cell ran out of time."""


class AuditFailure(RobustArenaError, ValueError):
    """An attack broke the rules of its threat. Fails the cell; nothing is clipped into a success."""


class ModelError(RobustArenaError, ValueError):
    """Weights or a card that cannot be used."""


class DataError(RobustArenaError, ValueError):
    """Data that is missing, changed or malformed.

    DataError
    └── UnavailableData   of the benchmark itself: this machine lacks them, or has them otherwise than they should be
    """


class UnavailableData(DataError):
    """Data that a cell is measured on, which this machine lacks or has damaged. Elsewhere the cell may do."""


class MachineFault(RobustArenaError, OSError):
    """This machine lacks the memory, the files or the packages that something needs. Elsewhere it may do.

    MachineFault
    └── StoreError   a file or a folder that cannot be read or written
    """


class StoreError(MachineFault):
    """A file or a folder cannot be read or written. Names the path, the reason and what to do."""


class MissingDependency(RobustArenaError, ImportError):
    """An optional package is not installed."""

    @classmethod
    def of(cls, package: str, feature: str, extra: str) -> MissingDependency:
        return cls(f"{feature} needs the package {package}: pip install 'robustarena[{extra}]'")


def is_machine_fault(error: BaseException) -> bool:
    """Whether an error is of this machine (its memory, files, packages or data), and not of what was asked of it."""
    if isinstance(error, RobustArenaError):
        return isinstance(error, (UnavailableData, MachineFault, MissingDependency))
    return isinstance(error, (OSError, MemoryError))
