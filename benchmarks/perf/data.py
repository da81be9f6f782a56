"""MNIST and CIFAR-10 as the Hub lays them out, from a local mirror: nothing is downloaded for a speed test."""

from __future__ import annotations

import io
import os
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor


ROOT: Final = Path(__file__).parents[2]
VARIABLE: Final = "ROBUSTARENA_HUB_MIRROR"
SIBLING: Final = Path("shared") / "hub"


class DataMissing(Exception):
    """The mirror lacks a data set; the text says where it was looked for."""


def mirror() -> Path:
    """The folder of data sets, `<owner>/<name>/data/<split>-*.parquet`: ROBUSTARENA_HUB_MIRROR, or shared/hub beside
    the checkout."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else ROOT.parent / SIBLING


@lru_cache(maxsize=8)
def pictures(name: str, split: str, count: int) -> tuple[Tensor, Tensor]:
    """The first images of a split, float32 [count, channels, height, width] in [0, 1], and labels, int64 [count].

    Raises DataMissing where the mirror has no such data set.
    """
    # Read at the first use: the listing of the tests needs neither.
    import pyarrow.parquet
    from PIL import Image

    files = sorted((mirror() / name / "data").glob(f"{split}-*.parquet"))
    if not files:
        raise DataMissing(f"no {name} ({split}) in a mirror of the Hub: set {VARIABLE}, or put it into ../{SIBLING}")
    table = pyarrow.parquet.read_table(files[0]).slice(0, count)
    if len(table) < count:
        raise DataMissing(f"{files[0].name} of {name} has {len(table)} rows, {count} are needed")
    image_column = next(column for column in table.column_names if column in ("image", "img"))
    arrays = [np.asarray(Image.open(io.BytesIO(cell["bytes"]))) for cell in table[image_column].to_pylist()]
    values = torch.from_numpy(np.stack(arrays)).to(torch.float32) / 255.0
    values = values[:, None] if values.ndim == 3 else values.permute(0, 3, 1, 2).contiguous()
    return values, torch.tensor(table["label"].to_pylist(), dtype=torch.int64)
