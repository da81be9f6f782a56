"""Threats as records name them: a text, or `none` for the clean pass."""

from __future__ import annotations

from functools import lru_cache

from adversarial.errors import InvalidThreat
from adversarial.threats import Threat
from leaderboard.records.canonical import ResultError


NO_THREAT = "none"  # of the clean pass


@lru_cache(maxsize=4096)
def without_access(threat: str) -> str:
    """Surface, norm, budget and share of steps: `SURFACE-linf:0.1` of `SURFACE-linf:0.1@scores<=100`; `none` for the
    clean pass. Raises ResultError for what is no threat."""
    return NO_THREAT if threat == NO_THREAT else _parsed(threat).place


@lru_cache(maxsize=4096)
def access_of(threat: str) -> str:
    """What the attacker may see: `scores` of `SURFACE-linf:0.1@scores<=100`; empty for the clean pass."""
    return "" if threat == NO_THREAT else _parsed(threat).access


def _parsed(threat: str) -> Threat:
    try:
        return Threat.parse(threat)
    except InvalidThreat as error:
        raise ResultError(str(error)) from None
