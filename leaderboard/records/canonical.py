"""Canonical JSON: one spelling of a value, so that one content has one hash, and the strict reading of it."""

from __future__ import annotations

import json
import math
from typing import Any, TypeVar

import msgspec

from adversarial.errors import RobustArenaError


T = TypeVar("T")


class ResultError(RobustArenaError, ValueError):
    """A record that cannot be trusted: corrupt, truncated, of another schema, or not what its name says."""


def canonical_json(value: Any) -> bytes:
    """Sorted keys, no spaces, ASCII, one newline at the end; refuses NaN and infinities with ResultError."""
    plain = msgspec.to_builtins(value)
    try:
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise ResultError(f"a record holds finite numbers only: {error}") from error
    return text.encode("ascii") + b"\n"


def strict_json(data: str | bytes) -> Any:
    """The plain values of a JSON document. Raises ValueError for a key that stands twice in one object, for a number
    that is not finite, and for what is no JSON."""
    return json.loads(data, object_pairs_hook=_distinct, parse_constant=_refuse, parse_float=_finite)


def decode(data: bytes, kind: type[T], what: str) -> T:
    """A struct from JSON: strictly as `strict_json` reads it, with every field and no other, each of its type.

    what: such as `a valid plan`, for the message. Raises ResultError with the place and the reason.
    """
    try:
        return msgspec.convert(strict_json(data), kind)
    except (ValueError, msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise ResultError(f"not {what}: {error}") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"key {repeated[:80]!a} stands twice in one object")
    return found


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not a number here")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:80]} is too large for a finite number")
    return number
