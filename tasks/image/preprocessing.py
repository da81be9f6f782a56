"""What image processors of transformers do to a picture, as differentiable steps: channels, size, crop, scale, mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adversarial.errors import ModelError
from tasks.models.folders import CONFIG, PROCESSOR, read_json, staged


SHAPE: Final = (1, 8, 8)  # of the task's own pictures: channels, height, width
LARGEST: Final = 1024  # pixels a side that a picture may be enlarged to
MODES: Final = {0: "nearest-exact", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # by Pillow's numbers
_OVERSHOOTING: Final = ("lanczos", "bicubic")
TOLERANCE: Final = 0.02  # of the pixel range: processors round to 256 levels in between

Size = tuple[int, int]  # height, width


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """size: that the picture is resized to, None where it stays. crop: the centre that is then cut out, None for all.
    mode: of torch's interpolate. scale, offset: pixels in [0, 1] become scale * pixel + offset. mean, std: one a
    channel, float32 [channels, 1, 1]."""

    size: Size | None
    crop: Size | None
    mode: str
    scale: float
    offset: float
    mean: Tensor
    std: Tensor

    def __call__(self, pixels: Tensor) -> Tensor:
        """From [batch, 1 or channels, height, width] in [0, 1] to [batch, channels, height, width] for the model."""
        images = pixels
        if self.size is not None:
            images = _resized(images, self.size, self.mode)
        if self.crop is not None:
            images = _centre(images, self.crop)
        return (images * self.scale + self.offset - self.mean) / self.std

    def __str__(self) -> str:
        steps = [f"{len(self.mean)} channels"]
        if self.size is not None:
            steps.append(f"{self.mode} to {self.size[0]} x {self.size[1]}")
        if self.crop is not None:
            steps.append(f"centre {self.crop[0]} x {self.crop[1]}")
        if (self.scale, self.offset) != (1.0, 0.0):
            steps.append(f"times {self.scale:g} plus {self.offset:g}")
        mean, std = ([round(float(value), 3) for value in part.flatten()] for part in (self.mean, self.std))
        return ", ".join([*steps, f"mean {mean}, std {std}" if any(mean) or set(std) != {1.0} else "not normalised"])

    def to(self, device: torch.device) -> FrontEnd:
        return replace(self, mean=self.mean.to(device), std=self.std.to(device))


def front_end(folder: Path, config: Any, shape: Sequence[int] = SHAPE) -> FrontEnd:
    """The steps that preprocessor_config.json names; without it, the config's image_size and no normalisation.

    shape: of the pictures. Raises ModelError for settings that are malformed or beyond what one can be enlarged to.
    """
    channels = getattr(config, "num_channels", 3)
    if channels not in (1, 3):
        raise ModelError(f"{folder}: the model reads {channels!r} channels; a grey picture can be read as 1 or 3")
    if channels < shape[0]:
        raise ModelError(f"{folder}: the model reads grey pictures, and these have {shape[0]} channels")
    plain = read_json(folder, PROCESSOR, optional=True)
    if not plain:
        size = getattr(config, "image_size", None)
        plain = {"do_resize": size is not None, "size": size, "do_normalize": False}
    size, crop = _sizes(plain, folder, shape[1:])
    mode = plain.get("resample", 2)
    if size is not None and mode not in MODES:
        raise ModelError(f"{folder / PROCESSOR}: resample {mode!r} is none of {sorted(MODES)}")
    rescaled = plain.get("do_rescale", True)
    scale = 255.0 * (_number(plain.get("rescale_factor", 1 / 255), "rescale_factor", folder) if rescaled else 1.0)
    normalised = bool(plain.get("do_normalize", "image_mean" in plain))
    mean = _channels(plain.get("image_mean") if normalised else 0.0, "image_mean", channels, folder)
    std = _channels(plain.get("image_std") if normalised else 1.0, "image_std", channels, folder)
    if bool((std <= 0).any()):
        raise ModelError(f"{folder / PROCESSOR}: image_std must be positive, got {std.flatten().tolist()}")
    kind = str(plain.get("image_processor_type", ""))
    if kind.startswith("EfficientNet") and plain.get("include_top"):
        std = std * std  # it divides once more
    offset = -1.0 if plain.get("rescale_offset") else 0.0
    return FrontEnd(size, crop, MODES.get(mode, "bilinear"), round(scale, 12), offset, mean, std)


def check_front_end(front: FrontEnd, folder: Path, shape: Sequence[int] = SHAPE) -> bool:
    """Compares with the model's own image processor on one picture; False where that one cannot be made here.

    Raises ModelError where the two differ: then the model would be measured on pictures that it was not made for.
    """
    if not (folder / PROCESSOR).is_file() or len(front.mean) != 3:
        return False
    channels, height, width = shape
    # Larger pictures are smoother: what is asked is where pixels go, not how sharp edges are rounded.
    steps = np.arange(height)[:, None, None] * 8 + np.arange(width)[None, :, None] + np.arange(channels)
    waves = steps * 37 % 256 if height * width <= 1_024 else 127.5 + 127.5 * np.sin(steps / 40)
    levels = waves.astype(np.uint8)
    try:
        from transformers import AutoImageProcessor

        factory: Any = AutoImageProcessor
        known = {name: folder / name for name in (PROCESSOR, CONFIG) if (folder / name).is_file()}
        with staged(known) as alone:
            processor = factory.from_pretrained(alone, local_files_only=True, trust_remote_code=False, use_fast=False)
        wanted = processor(np.repeat(levels, 3 // channels, -1), return_tensors="pt", input_data_format="channels_last")
        theirs: Tensor = wanted["pixel_values"]
    except Exception:  # what of it is installed, and what it makes of its settings, is its own affair
        return False
    ours = front(torch.from_numpy(levels.transpose(2, 0, 1).astype(np.float32) / 255)[None])
    if ours.shape != theirs.shape:
        raise ModelError(
            f"{folder}: its image processor makes {list(theirs.shape)} of a picture, and {PROCESSOR} is read here as "
            f"{list(ours.shape)} ({front}); write size, crop_size and resample out in it"
        )
    gap = float(((ours - theirs).abs() * front.std).max()) / max(front.scale, 1e-12)
    if not gap <= TOLERANCE:
        raise ModelError(
            f"{folder}: its image processor and {PROCESSOR} as it is read here ({front}) differ by {gap:.3f} of the "
            "pixel range; expected resizing, a centre crop, scaling, mean and standard deviation"
        )
    return True


def _sizes(plain: Mapping[str, Any], folder: Path, sides: Sequence[int]) -> tuple[Size | None, Size | None]:
    kind = str(plain.get("image_processor_type", ""))
    size = (
        _size(plain["size"], folder, sides) if plain.get("do_resize", "size" in plain) and plain.get("size") else None
    )
    crop = _size(plain["crop_size"], folder, (1, 1)) if plain.get("do_center_crop") and plain.get("crop_size") else None
    if size is not None and kind.startswith("Levit"):
        return (int(256 / 224 * size[0]), int(256 / 224 * size[1])), crop
    if size is None or plain.get("crop_pct") is None or max(size) >= 384:
        return size, crop
    # ConvNeXT's rule: a small picture is cut out of a larger one, a large one is not.
    share = _number(plain["crop_pct"], "crop_pct", folder)
    if not max(size) / LARGEST <= share <= 1:
        raise ModelError(f"{folder / PROCESSOR}: crop_pct must be a share of up to 1, got {share!r}")
    return (int(size[0] / share), int(size[1] / share)), crop or size


def _size(size: Any, folder: Path, sides: Sequence[int]) -> Size:
    """Height and width of `224`, `{"height": 224, "width": 224}` or `{"shortest_edge": 224}`; of the last for a picture
    of these sides."""
    if isinstance(size, dict):
        edge = size.get("shortest_edge")
        short = min(sides)
        edges = [int(edge * side / short) for side in sides] if type(edge) is int else [edge, edge]
        parts = [size.get("height", edges[0]), size.get("width", edges[1])]
    else:
        parts = list(size) if isinstance(size, (list, tuple)) else [size, size]
    sides = [part for part in parts if type(part) is int and 1 <= part <= LARGEST]
    if len(sides) != 2 or len(parts) != 2:
        raise ModelError(f"{folder}: a picture's size must be 1 to {LARGEST} pixels a side, got {size!r}")
    return sides[0], sides[1]


def _channels(values: Any, name: str, channels: int, folder: Path) -> Tensor:
    numbers = [values] * channels if isinstance(values, (int, float)) else values
    if not isinstance(numbers, list) or len(numbers) != channels:
        raise ModelError(f"{folder / PROCESSOR}: {name} must be {channels} numbers, got {values!r}")
    return torch.tensor([_number(value, name, folder) for value in numbers], dtype=torch.float32)[:, None, None]


def _number(value: Any, name: str, folder: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e6:
        raise ModelError(f"{folder / PROCESSOR}: {name} must be a number, got {value!r}")
    return float(value)


def _resized(images: Tensor, size: Size, mode: str) -> Tensor:
    if mode not in _OVERSHOOTING:
        return functional.interpolate(images, size, mode=mode, antialias=mode == "bilinear")
    # Pillow resizes along each side in turn, and cuts off what is darker than black or brighter than white.
    for part in ((images.shape[2], size[1]), size):
        images = functional.interpolate(images, part, mode=mode, antialias=True).clamp(0.0, 1.0)
    return images


def _centre(images: Tensor, crop: Size) -> Tensor:
    """The middle of the pictures; black around those that are smaller."""
    height, width = images.shape[2] - crop[0], images.shape[3] - crop[1]
    top, left = height // 2, width // 2
    return functional.pad(images, (-left, left - width, -top, top - height))
