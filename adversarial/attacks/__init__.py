"""Attacks, one algorithm a file with its entry, each written once over Problem and Space."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from adversarial.declared import declared
from adversarial.entries import AttackEntry


ENTRIES: Final = declared(Path(__file__).parent, AttackEntry)
