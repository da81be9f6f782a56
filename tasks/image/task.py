"""The task `image-digits`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from adversarial.spaces import pixels
from tasks.data import CustomData
from tasks.image import custom_data
from tasks.image.dataset import Digits, data_hash, load_split
from tasks.image.model import ARCHITECTURES
from tasks.image.preprocessing import SHAPE
from tasks.image.recipes import RECIPES
from tasks.measuring.classification import Classification, Labelled
from tasks.measuring.protocol import ModelInterface


def make() -> Classification:
    """Handwritten digits, 8 x 8 pixels in [0, 1], ten classes, as the registry entry names it."""
    return _task(_split, data_hash, SHAPE, 10)


def on_data(data: CustomData) -> Classification:
    """The task on a user's own pictures."""
    load = lru_cache(lambda split: _labelled(custom_data.load(data, split)))
    return _task(load, data.data_hash, custom_data.shape_of(data), len(data.manifest.classes))


def _task(
    load: Callable[[str], Labelled], hash_of: Callable[[str], str], shape: tuple[int, ...], classes: int
) -> Classification:
    sides = ", ".join(map(str, shape))
    return Classification(
        name="image-digits",
        interface=ModelInterface(f"pixels, float32 [batch, {sides}] in [0, 1]", f"logits [batch, {classes}]", classes),
        load=load,
        data_hash=hash_of,
        surface="pixels",
        make_space=pixels,
        architectures=ARCHITECTURES,
        trained=("small-conv", {"width": 32}),
        recipes=RECIPES,
        stored_as="images",
    )


@lru_cache(maxsize=3)
def _split(split: str) -> Labelled:
    return _labelled(load_split(split))


def _labelled(digits: Digits) -> Labelled:
    return Labelled(digits.ids, digits.images, digits.labels)
