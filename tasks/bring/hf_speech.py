"""Folders of transformers' speech models: which files count, and loading them without running anything of theirs.

Weights come from safetensors, settings from JSON; pickles, code and adapters are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from adversarial.errors import ModelError
from adversarial.victims import Victim
from tasks.bring import Brought, Source, hash_of
from tasks.bring.folders import check_settings, staged


WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
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
MOST_JSON: Final = 64 * 2**20  # bytes of a JSON file
# Weights that transformers draws anew where a checkpoint lacks them, and that only training uses.
_TRAINING_ONLY: Final = ("masked_spec_embed",)
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?")
_SHARD: Final = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


def fetched(source: Source) -> Path:
    """The folder of a source: a local one, or that of a model on the Hub, of which only the files that count are
    fetched. Raises ModelError."""
    path = source.path
    if path.is_dir():
        return path
    if path.exists() or not _HUB_ID.fullmatch(source.location):
        raise ModelError(
            f"{path} is not a folder; hf: takes a folder of save_pretrained, or the id of a model on the Hub"
        )
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(source.location, allow_patterns=[*SETTINGS, INDEX, "model*.safetensors"])
        )
    except (OSError, ValueError, RuntimeError) as error:  # what the Hub's errors are, whichever of its versions
        line = "".join(str(error).strip().splitlines()[:1])
        raise ModelError(f"there is no folder {path}, and the Hub does not give it either: {line[:200]}") from None


def files_of(folder: Path) -> dict[str, Path]:
    """What a bundle carries of a model, by name; raises ModelError where there are no safetensors."""
    names = [name for name in SETTINGS if (folder / name).is_file()]
    if (folder / WEIGHTS).is_file():
        names.append(WEIGHTS)
    else:
        shards = read_json(folder, INDEX, optional=True).get("weight_map")
        if not isinstance(shards, dict):
            raise ModelError(f"no {WEIGHTS} in {folder}; weights are safetensors: save_pretrained(folder)")
        names += [INDEX, *sorted(set(map(str, shards.values())))]
        if odd := [name for name in names[names.index(INDEX) + 1 :] if not _SHARD.fullmatch(name)]:
            raise ModelError(
                f"{folder}/{INDEX} names the file {odd[0][:80]!r}; expected model-00001-of-00002.safetensors"
            )
    return {name: folder / name for name in names}


def brought(source: Source, victim: Victim, folder: Path, facts: Mapping[str, str | int | float]) -> Brought:
    """The victim with the files of its folder."""
    files = files_of(folder)
    return Brought(source, victim, hash_of(files), files, facts)


def read_json(folder: Path, name: str, *, optional: bool = False) -> dict[str, Any]:
    """A JSON object of the folder; raises ModelError where it is missing (unless optional) or malformed."""
    path = folder / name
    if not path.is_file():
        if optional:
            return {}
        raise ModelError(f"no {name} in {folder}; save the model together with its processor: save_pretrained(folder)")
    if path.stat().st_size > MOST_JSON:
        raise ModelError(f"{path} has more than {MOST_JSON} bytes")
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
    if not isinstance(plain, dict):
        raise ModelError(f"{path} must hold an object")
    return plain


def extractor_of(folder: Path) -> Mapping[str, Any]:
    """The settings of the feature extractor, from either of the files that transformers writes them to."""
    if (folder / "preprocessor_config.json").is_file():
        return read_json(folder, "preprocessor_config.json")
    nested = read_json(folder, "processor_config.json", optional=True).get("feature_extractor")
    if not isinstance(nested, dict):
        raise ModelError(f"no preprocessor_config.json in {folder}; save the feature extractor there, too")
    return nested


def loaded(factory: str, folder: Path, attention: str = "eager") -> nn.Module:
    """A model of transformers by the name of its class, in float32, from safetensors alone.

    Raises ModelError for pickles, for code in the folder, for quantised weights, and where weights are missing, of
    another shape, or not finite.
    """
    import transformers

    read_json(folder, "config.json")
    files = files_of(folder)
    if (folder / "adapter_config.json").exists():
        raise ModelError(f"{folder} holds an adapter; merge it into the model and save that")
    check_settings(folder)
    try:
        # Weights are drawn first, and then overwritten.
        with torch.random.fork_rng(devices=[]), staged(files) as alone:
            module, report = getattr(transformers, factory).from_pretrained(
                alone,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                attn_implementation=attention,  # named here, so that config.json cannot name a kernel to fetch
                dtype=torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError) as error:
        line = str(error).strip().splitlines()[:1]
        raise ModelError(f"{folder} cannot be loaded as {factory}: {''.join(line)[:300]}") from None
    missing = [name for name in report["missing_keys"] if not name.endswith(_TRAINING_ONLY)]
    shaped = [str(entry[0]) for entry in report["mismatched_keys"]]
    if missing or shaped:
        raise ModelError(
            f"{folder} lacks weights of a {type(module).__name__}: {sorted(missing)[:3]}, other shapes {shaped[:3]}"
        )
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{folder}: {name} holds NaN or infinite weights")
    found: nn.Module = module
    return found
