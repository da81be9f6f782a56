"""Defenses, one a file with its entry."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from adversarial.declared import declared
from adversarial.entries import DefenseEntry


ENTRIES: Final = declared(Path(__file__).parent, DefenseEntry)
