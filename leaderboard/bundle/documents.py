"""JSON from strangers: UTF-8, no repeated keys, finite numbers, no text that a database or a page could not hold."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from leaderboard.bundle.errors import BundleError, shown
from leaderboard.records.canonical import ResultError, canonical_json, strict_json


T = TypeVar("T")

MOST_PARTS = 6_000_000  # values of a document, of which each takes tens of bytes of memory
OBJECT_PARTS = 6  # that a list or an object counts for

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def read_json(data: bytes, where: str, *, storable: bool = True) -> Any:
    """Plain values of a JSON document. Raises BundleError that names the document.

    storable: whether texts with U+0000 or half a surrogate pair are refused, as databases and pages do.
    """
    parts = data.count(b",") + OBJECT_PARTS * (data.count(b"[") + data.count(b"{"))
    if parts > MOST_PARTS:
        raise BundleError(f"{where}: expected at most {MOST_PARTS:,} values, which these bytes may go beyond")
    try:
        text = data.decode("utf-8")
        if text.startswith("\ufeff"):
            raise ValueError("starts with a byte order mark")
        plain = strict_json(text)
        if storable and _SURROGATE.search(data):
            msgspec.json.encode(plain)  # half of a surrogate pair raises UnicodeEncodeError
        if storable and _NUL.search(data):
            raise ValueError("holds the character U+0000")
    except (ValueError, OverflowError, RecursionError) as error:
        raise BundleError(f"{where}: not valid JSON: {error}") from None
    return plain


def read_canonical(data: bytes, kind: type[T], where: str) -> T:
    """A struct from its canonical JSON, byte for byte. Raises BundleError that names the document and the place."""
    plain = read_json(data, where)
    try:
        value = msgspec.convert(plain, kind)
        canonical = canonical_json(value)
    except (msgspec.ValidationError, ResultError, OverflowError, RecursionError) as error:
        raise BundleError(f"{where}: {error}") from None
    checked_canonical(data, canonical, where)
    return value


def checked_canonical(data: bytes, canonical: bytes, where: str) -> None:
    """Refuses another spelling of the same document, so that one content has one hash."""
    if data == canonical:
        return
    place = next((at for at, (a, b) in enumerate(zip(data, canonical, strict=False)) if a != b), len(canonical))
    raise BundleError(
        f"{where}: not canonical JSON (sorted keys, no spaces, every field, a newline at the end): at byte {place} "
        f"expected {shown(canonical[place : place + 20])}, found {shown(data[place : place + 20])}"
    )
