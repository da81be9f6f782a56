"""Model cards: what a folder of weights is, without loading it and without torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adversarial.errors import ModelError
from tasks.models.recipes import Recipe


WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "card.json"


@dataclass(frozen=True, slots=True)
class Card:
    """The card beside a model's weights.

    architecture, arguments: what builds the empty module. weights_sha256: of model.safetensors. data_hash: of the
    training data. clean: the metric on the test split, by name, as training measured it. clean_loss: mean training
    loss of the last epoch on undisturbed data. command: makes the model again. versions: of torch and the rest.
    """

    task: str
    model: str
    architecture: str
    arguments: dict[str, Any]
    recipe: dict[str, Any]
    data_hash: str
    weights_sha256: str
    clean: dict[str, float]
    clean_loss: float
    command: str
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def defense(self) -> str:
        return str(self.recipe.get("defense", "none"))


def read_card(folder: Path) -> Card:
    """Reads card.json; raises ModelError, naming the file, for one that is missing or malformed."""
    path = folder / CARD_FILE
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return Card(**plain)
    except FileNotFoundError:
        raise ModelError(f"no {CARD_FILE} in {folder}; a model folder holds {WEIGHTS_FILE} and {CARD_FILE}") from None
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path} is not a model card: {error}") from None


def write_card(folder: Path, card: Card) -> None:
    """Writes card.json, readable and with sorted keys."""
    text = json.dumps(asdict(card), indent=1, sort_keys=True, allow_nan=False)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")


def recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    plain = asdict(recipe)
    return {**plain, "defense_params": dict(recipe.defense_params), "options": dict(recipe.options)}


def weights_hash(folder: Path) -> str:
    """SHA-256 of the weights file, 64 hexadecimal digits; raises ModelError where it is missing."""
    path = folder / WEIGHTS_FILE
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None


def model_hash(folder: Path) -> str:
    """SHA-256 over weights and card: what identifies a model in a cell."""
    card = folder / CARD_FILE
    try:
        card_bytes = card.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {card}: {error.strerror}") from None
    return hashlib.sha256(weights_hash(folder).encode() + card_bytes).hexdigest()
