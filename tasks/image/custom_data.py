"""A user's own pictures for the task `image-digits`, or rather for any classes: grey or coloured, all of one size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from adversarial.errors import DataError
from tasks.data import Arrays, CustomData
from tasks.data.labels import class_names, label_of
from tasks.data.overlap import apart
from tasks.data.preparing import Collected, Preparing
from tasks.data.reading import Rows, Selection, opened
from tasks.image.dataset import Digits


if TYPE_CHECKING:
    from PIL.Image import Image


ROLES: Final[Mapping[str, Sequence[str]]] = {
    "image": ("image", "img", "picture", "file_name", "path"),
    "label": ("label", "labels", "class", "target"),
}
SHAPE: Final = "shape"  # what the manifest tells of all pictures
DIGITS: Final = tuple(map(str, range(10)))
LARGEST: Final = 1024  # pixels a side
GREY: Final = ("1", "L", "LA")
PALETTES: Final = ("P", "PA")
Pixels = NDArray[np.uint8]
_Picture = tuple[Pixels, int]  # and its label


def collect(test: Rows, fit: Rows, selection: Selection) -> Collected:
    """Raises DataError for pictures of several sizes (unless the option `size` is given, in pixels a side) and for
    labels of no class."""
    classes = class_names((test, fit), selection.classes)
    if len(classes) < 2:
        raise DataError(f"there are {len(classes)} classes; a classifier needs two")
    names = test.names_of("label")
    pictures: dict[str, list[_Picture]] = {}
    sides: tuple[int, ...] = ()
    for split, rows in (("test", test), ("validation", fit)):
        pictures[split] = []
        for number, row in rows:
            where = f"row {number} of {rows.name}"
            image = _pixels(row["image"], selection.options.get("size", 0), rows.folder, where)
            sides = sides or image.shape[1:]
            if image.shape[1:] != sides:
                raise DataError(
                    f"{where}: a picture of {_size(image.shape[1:])}, and others have {_size(sides)}; "
                    "--size N resizes and crops all of them to N x N"
                )
            pictures[split].append((image, label_of(row["label"], classes, names, where)))
    shape = (max(len(image) for images in pictures.values() for image, _ in images), *sides)

    def content(picture: _Picture) -> bytes:
        # A grey picture among coloured ones is one whose three channels are alike.
        return hashlib.sha256(np.broadcast_to(picture[0], shape).tobytes()).digest()

    kept, notes = apart(pictures["test"], pictures["validation"], content)
    parts: dict[str, Arrays] = {
        split: {
            "images": np.stack([np.broadcast_to(image, shape) for image, _ in found]),
            "labels": np.array([label for _, label in found], np.int64),
        }
        for split, found in (("test", pictures["test"]), ("validation", kept))
    }
    reads = shape == (1, 8, 8) and classes == DIGITS
    counts = {"test": len(pictures["test"]), "validation": len(kept)}
    return Collected(parts, counts, classes, {SHAPE: shape}, reads, notes)


PREPARING: Final = Preparing(ROLES, collect, options=("size",))


def shape_of(data: CustomData) -> tuple[int, ...]:
    """[channels, height, width] of the pictures."""
    return cast("tuple[int, ...]", data.manifest.facts[SHAPE])


def load(data: CustomData, split: str) -> Digits:
    """A split as the task reads it."""
    arrays = data.arrays(split)
    images = (arrays["images"] / np.float32(255)).astype(np.float32)
    return Digits(data.ids(split), images, arrays["labels"])


def _pixels(value: Any, size: int, folder: Path, where: str) -> Pixels:
    """uint8 [1 or 3, height, width], turned as the camera says it was held."""
    from PIL import Image, ImageOps

    try:
        with Image.open(opened(value, folder)) as found:
            if found.mode[:1] in "IF":
                raise DataError(f"{where}: a picture of more than 8 bits a channel ({found.mode}); save it with 8")
            grey, palette = found.mode in GREY, found.mode in PALETTES
            picture = ImageOps.exif_transpose(found).convert("L" if grey else "RGB")
            if palette and _is_grey(picture):
                grey, picture = True, picture.getchannel(0)
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise what they like at bytes that are no picture
        raise DataError(f"{where}: no picture that can be read: {str(error)[:200]}") from None
    if size:
        share = size / min(picture.size)
        sides = [max(size, round(side * share)) for side in picture.size]
        left, top = (sides[0] - size) // 2, (sides[1] - size) // 2
        picture = picture.resize(sides, Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
    if max(picture.size) > LARGEST:
        raise DataError(f"{where}: a picture of {picture.size[0]} x {picture.size[1]}; --size N makes it smaller")
    pixels = np.asarray(picture, dtype=np.uint8)
    return pixels[None] if grey else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _is_grey(picture: Image) -> bool:
    """Whether the three channels of a picture are alike."""
    pixels = np.asarray(picture)
    return bool((pixels == pixels[..., :1]).all())


def _size(sides: tuple[int, ...]) -> str:
    return f"{sides[1]} x {sides[0]}"
