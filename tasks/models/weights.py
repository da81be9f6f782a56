"""Reading and writing weights: safetensors only, checked before anything uses them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from adversarial.errors import ModelError
from tasks.models.cards import WEIGHTS_FILE, Card, weights_hash


def load_weights(module: nn.Module, folder: Path, card: Card | None = None) -> None:
    """Fills a module from model.safetensors.

    Raises ModelError, naming the file: for a pickle or any other format, for missing, unknown or wrongly shaped
    tensors, for values that are not finite, and where the card names another hash.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ModelError(f"no {WEIGHTS_FILE} in {folder}; weights are safetensors, pickles are never loaded")
    if card is not None and weights_hash(folder) != card.weights_sha256:
        raise ModelError(
            f"{path} has SHA-256 {weights_hash(folder)[:12]}..., its card says {card.weights_sha256[:12]}...; "
            "restore the file or train the model again"
        )
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is not a safetensors file ({error}); pickles are never loaded") from None
    expected = module.state_dict()
    missing, unknown = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unknown:
        raise ModelError(f"{path} does not fit the architecture: missing {missing[:3]}, unknown {unknown[:3]}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ModelError(
                f"{path}: {name} has shape {list(tensor.shape)}, the architecture has {list(expected[name].shape)}"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{path}: {name} holds NaN or infinite weights")
    module.load_state_dict(tensors)


def save_weights(module: nn.Module, folder: Path, dtype: torch.dtype | None = None) -> str:
    """Writes model.safetensors and returns its SHA-256.

    dtype: of the floating-point weights in the file, their own by default; float16 halves a large table of vectors,
    and loading brings it back to the module's own type.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, tensor in module.state_dict().items():
        stored = tensor.detach().cpu().contiguous()
        tensors[name] = stored.to(dtype) if dtype is not None and stored.is_floating_point() else stored
    (folder / WEIGHTS_FILE).write_bytes(save(tensors))
    return weights_hash(folder)
