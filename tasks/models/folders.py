"""Folders that transformers' save_pretrained wrote: which files count, and loading them without running anything of
theirs. Weights come from safetensors, settings from JSON and text; pickles, code and adapters are refused."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from torch import nn

from adversarial.errors import ModelError
from tasks.models import Source


WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
CONFIG: Final = "config.json"
PROCESSOR: Final = "preprocessor_config.json"
ELSEWHERE: Final = frozenset(
    {"auto_map", "quantization_config", "transformers_weights", "configuration_files", "fast_tokenizer_files"}
)
# Tables of words, in which any word may stand.
VOCABULARY_FILES: Final = frozenset({"vocab.json", "tokenizer.json", "added_tokens.json", "normalizer.json", INDEX})
PICKLES: Final = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".ot"})
GENERATE: Final = "custom_generate/generate.py"  # from_pretrained runs it where the folder is a local one
MOST_JSON: Final = 64 * 2**20  # bytes of a JSON file
_FAILURES: Final = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError, IndexError),
    SafetensorError,
)
_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?")
_SHARD: Final = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")


def fetched(source: Source, settings: Sequence[str]) -> Path:
    """The folder of a source: a local one, or that of a model on the Hub, of which only settings and safetensors are
    fetched. Raises ModelError."""
    path = source.path
    if path.is_dir():
        return path
    if path.exists() or not _HUB_ID.fullmatch(source.location):
        raise ModelError(
            f"{path} is not a folder; hf: takes a folder of save_pretrained, or the id of a model on the Hub"
        )
    import huggingface_hub

    wanted = [*settings, INDEX, "model*.safetensors"]
    try:
        return Path(huggingface_hub.snapshot_download(source.location, allow_patterns=wanted))
    except (OSError, ValueError, RuntimeError) as error:  # what the Hub's errors are, whichever of its versions
        line = "".join(str(error).strip().splitlines()[:1])
        raise ModelError(
            f"there is no folder {path}, and the Hub does not give a model of that id ({line[:160]}); name a folder, "
            f"or fetch it where there is a network: hf download {source.location}"
        ) from None


def files_of(folder: Path, settings: Sequence[str]) -> dict[str, Path]:
    """What a bundle carries of a model, by name; raises ModelError where there are no safetensors."""
    names = [name for name in settings if (folder / name).is_file()]
    if (folder / WEIGHTS).is_file():
        names.append(WEIGHTS)
    elif (folder / INDEX).is_file():
        shards = read_json(folder, INDEX).get("weight_map")
        if not isinstance(shards, dict):
            raise ModelError(f"{folder / INDEX} has no weight_map; save the model again: save_pretrained(folder)")
        parts = sorted(set(map(str, shards.values())))
        if odd := [name for name in parts if not _SHARD.fullmatch(name)]:
            raise ModelError(f"{folder / INDEX} names {odd[0][:80]!r}; expected model-00001-of-00002.safetensors")
        names += [INDEX, *parts]
    else:
        raise ModelError(without_weights(folder, "model.save_pretrained(folder) writes"))
    return {name: folder / name for name in names}


def read_json(folder: Path, name: str, *, optional: bool = False) -> dict[str, Any]:
    """A JSON object of the folder; raises ModelError where it is missing (unless optional) or malformed."""
    path = folder / name
    if not path.is_file():
        if optional:
            return {}
        raise ModelError(f"no {name} in {folder}; save the model there with save_pretrained(folder)")
    if path.stat().st_size > MOST_JSON:
        raise ModelError(f"{path} has more than {MOST_JSON} bytes")
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}") from None
    if not isinstance(plain, dict):
        raise ModelError(f"{path} must hold an object")
    return plain


def load_pretrained(
    factory: str, folder: Path, settings: Sequence[str], *, attention: str = "eager", optional: tuple[str, ...] = ()
) -> nn.Module:
    """A model by the name of its class in transformers, in float32, from safetensors alone.

    attention: which of the library's implementations. optional: endings of weights that may be missing. Raises
    ModelError for pickles, code in the folder, adapters and quantised weights, and where weights are missing, of
    another shape, or not finite.
    """
    read_json(folder, CONFIG)
    files = files_of(folder, settings)
    if (folder / "adapter_config.json").exists():
        raise ModelError(f"{folder} holds an adapter; merge it into the model and save that")
    check_settings(folder)
    import transformers

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
                return_dict=True,  # answers are read by name, whatever config.json says of tuples
                torchscript=False,
                output_loading_info=True,
            )
    except _FAILURES as error:
        lines = str(error).strip().splitlines()[:1]
        raise ModelError(f"{folder} cannot be loaded as {factory}: {''.join(lines)[:300]}") from None
    missing = sorted(name for name in report["missing_keys"] if not name.endswith(optional))
    shaped = sorted(str(entry[0]) for entry in report["mismatched_keys"])
    if missing or shaped:
        raise ModelError(
            f"{folder} lacks weights of a {type(module).__name__}: {missing[:3]}, other shapes {shaped[:3]}; save the "
            "whole model, its head included"
        )
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{folder}: {name} holds NaN or infinite weights")
    found: nn.Module = module
    return found


@contextlib.contextmanager
def staged(files: Mapping[str, Path]) -> Iterator[Path]:
    """A folder with these files and nothing else: whatever a library looks for beside them, it does not find."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, path in files.items():
            (Path(scratch) / name).symlink_to(path.resolve())
        yield Path(scratch)


def check_settings(folder: Path) -> None:
    """Raises ModelError where the folder has code that would be run, or where a setting, however deep, names code,
    quantised weights, or files beyond those that count: two models would then share one hash."""
    if (folder / GENERATE).exists():
        raise ModelError(f"{folder} has {GENERATE}: code of a model is not run; take it away if it works without")
    for path in sorted(folder.glob("*.json")):
        if path.name in VOCABULARY_FILES:
            continue
        if found := sorted(_keys(read_json(folder, path.name)) & ELSEWHERE):
            raise ModelError(f"{path} has {found[0]}: code, quantised weights and further files are not loaded")


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_keys(one) for one in value.values()))
    return set().union(*(_keys(one) for one in value)) if isinstance(value, list) else set()


def without_weights(folder: Path, writes: str) -> str:
    """What is wrong with a folder without safetensors, and what to do. writes: the call that writes them."""
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in PICKLES)
    if not pickles:
        return f"no {WEIGHTS} in {folder}; {writes} it"
    return (
        f"{folder} has its weights in {pickles[0]}; such files can run code and are never loaded. Where you trust it, "
        f"load it yourself; {writes} {WEIGHTS}"
    )
