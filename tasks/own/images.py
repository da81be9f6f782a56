"""A user's own pictures for the task `image-digits`, or rather for any classes: grey or coloured, all of one size."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from adversarial.errors import DataError
from tasks.image.facts import Digits
from tasks.own import Arrays, Manifest, OwnData
from tasks.own.labels import class_names, label_of
from tasks.own.reading import Rows, Wanted


ROLES: Final[Mapping[str, Sequence[str]]] = {
    "image": ("image", "img", "picture", "file_name", "path"),
    "label": ("label", "labels", "class", "target"),
}
DIGITS: Final = tuple(map(str, range(10)))
LARGEST: Final = 1024  # pixels a side
GREY: Final = ("1", "L", "LA")


def collect(test: Rows, fit: Rows, wanted: Wanted) -> tuple[Manifest, dict[str, Arrays]]:
    """Raises DataError for pictures of several sizes (unless `size` is given) and for labels of no class."""
    classes = class_names(test, wanted.classes)
    if len(classes) < 2:
        raise DataError(f"there are {len(classes)} classes; a classifier needs two")
    named = bool(test.names_of("label"))
    parts: dict[str, Arrays] = {}
    shape: tuple[int, ...] = ()
    for split, rows in (("test", test), ("validation", fit)):
        images, labels = [], []
        for number, row in rows:
            where = f"row {number}"
            image = _pixels(row["image"], wanted.size, shape[:1], rows, where)
            shape = shape or image.shape
            if image.shape != shape:
                raise DataError(
                    f"{where}: a picture of {_size(image.shape)}, and others have {_size(shape)}; "
                    "--size N resizes and crops all of them to N x N"
                )
            images.append(image)
            labels.append(label_of(row["label"], classes, named, where))
        parts[split] = {"images": np.stack(images), "labels": np.array(labels, np.int64)}
    reads = shape == (1, 8, 8) and classes == DIGITS
    return Manifest("image-digits", {}, classes=classes, shape=shape, reference_models=reads), parts


def load(data: OwnData, split: str) -> Digits:
    """A split as the task reads it."""
    arrays = data.arrays(split)
    images = (arrays["images"] / np.float32(255)).astype(np.float32)
    return Digits(data.ids(split), images, arrays["labels"])


def _pixels(value: Any, size: int, channels: tuple[int, ...], rows: Rows, where: str) -> np.ndarray[Any, Any]:
    """uint8 [channels, height, width]. channels: of the pictures before, if there were any."""
    from PIL import Image, UnidentifiedImageError

    try:
        if isinstance(value, dict):
            value = io.BytesIO(value["bytes"]) if value.get("bytes") else rows.folder / value["path"]
        elif isinstance(value, str):
            value = rows.folder / value
        elif isinstance(value, bytes):
            value = io.BytesIO(value)
        picture: Any = value if isinstance(value, Image.Image) else Image.open(value)
        grey = channels == (1,) if channels else picture.mode in GREY
        if picture.mode[:1] in "IF":
            raise DataError(f"{where}: a picture of more than 8 bits a channel; save it with 8")
        picture = picture.convert("L" if grey else "RGB")
    except (OSError, UnidentifiedImageError, TypeError, KeyError, ValueError) as error:
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


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[2]} x {shape[1]}"
