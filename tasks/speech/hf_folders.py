"""Folders of transformers' speech models: which of their files count."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import nn

from adversarial.errors import ModelError
from adversarial.victims import Victim
from tasks.models import LoadedModel, Source, folders, hash_of
from tasks.models.folders import read_json


# What else says how a speech model hears and writes; other files are neither read nor carried.
SETTINGS: Final = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "normalizer.json",
)
# Weights that transformers draws anew where a checkpoint lacks them, and that only training uses.
_TRAINING_ONLY: Final = ("masked_spec_embed",)


def fetched(source: Source) -> Path:
    """The folder of a source, local or from the Hub; raises ModelError."""
    return folders.fetched(source, SETTINGS)


def files_of(folder: Path) -> dict[str, Path]:
    """What a bundle carries of a model, by name; raises ModelError where there are no safetensors."""
    return folders.files_of(folder, SETTINGS)


def load_pretrained(factory: str, folder: Path, attention: str = "eager") -> nn.Module:
    """A model of transformers by the name of its class; raises ModelError."""
    return folders.load_pretrained(factory, folder, SETTINGS, attention=attention, optional=_TRAINING_ONLY)


def loaded_model(
    source: Source,
    victim: Victim,
    folder: Path,
    facts: Mapping[str, str | int | float],
    notes: Mapping[str, str] | None = None,
) -> LoadedModel:
    """The victim with the files of its folder."""
    files = files_of(folder)
    return LoadedModel(source, victim, hash_of(files), files, facts, notes=notes or {})


def extractor_of(folder: Path) -> Mapping[str, Any]:
    """The settings of the feature extractor, from either of the files that transformers writes them to."""
    if (folder / "preprocessor_config.json").is_file():
        return read_json(folder, "preprocessor_config.json")
    nested = read_json(folder, "processor_config.json", optional=True).get("feature_extractor")
    if not isinstance(nested, dict):
        raise ModelError(f"no preprocessor_config.json in {folder}; save the feature extractor there, too")
    return nested
