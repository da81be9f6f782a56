from __future__ import annotations

from typing import Final

from tasks.recipes import Recipe


THREAT: Final = "observations-linf:0.2@gradient"
RECIPES: Final[dict[str, Recipe]] = {}
