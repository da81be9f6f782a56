"""Pictures as data: URIs, PNG written by hand so that the same numbers are the same bytes everywhere."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


Raster = NDArray[np.uint8]

MOST_SIDE: Final = 256  # a larger picture shows every second, third, ... pixel
_STOPS: Final = np.array(
    [[13, 8, 50], [59, 54, 130], [38, 110, 140], [52, 165, 120], [160, 210, 60], [250, 235, 120]], dtype=np.float64
)


def png_uri(pixels: Raster) -> str:
    """A grey [height, width] or colour [height, width, 3] picture as a data: URI."""
    return f"data:image/png;base64,{base64.b64encode(png(pixels)).decode('ascii')}"


def png(pixels: Raster) -> bytes:
    """A grey [height, width] or colour [height, width, 3] picture as a PNG file."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(
            f"png: expected uint8 [height, width] or [height, width, 3], got {pixels.dtype} {pixels.shape}"
        )
    height, width = pixels.shape[:2]
    kind = 0 if pixels.ndim == 2 else 2
    rows = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)  # each row starts with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    # Level 0 to 9 of one library give the same bytes; the level is named so that a default cannot change them.
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
        + _chunk(b"IEND", b"")
    )


def image_pixels(image: NDArray[Any]) -> Raster:
    """A picture of an input in [0, 1]: [channels, height, width], one channel grey, three red, green and blue."""
    reduced = _reduced(np.nan_to_num(np.asarray(image, dtype=np.float64)))
    levels = np.rint(np.clip(reduced, 0.0, 1.0) * 255).astype(np.uint8)
    return levels.transpose(1, 2, 0).copy() if levels.shape[0] == 3 else levels[0].copy()


def difference_pixels(image: NDArray[Any], clean: NDArray[Any]) -> tuple[Raster, float]:
    """How an input was changed, the mean over channels: red is more, blue is less, white is no change.

    Also the largest change, which is where the colours end.
    """
    change = _reduced(np.nan_to_num(np.asarray(image, dtype=np.float64) - np.asarray(clean, dtype=np.float64))).mean(
        axis=0
    )
    most = float(np.abs(change).max(initial=0.0))
    share = change / most if most > 0 else change
    away = np.abs(share)[..., None]
    ends = np.where(share[..., None] > 0, np.array([178.0, 24.0, 43.0]), np.array([33.0, 102.0, 172.0]))
    return np.rint(255.0 * (1 - away) + ends * away).astype(np.uint8), most


def levels_pixels(levels: NDArray[np.float64]) -> Raster:
    """Levels in [0, 1] as colours from dark blue over green to yellow, [height, width, 3]."""
    place = np.clip(levels, 0.0, 1.0) * (len(_STOPS) - 1)
    below = np.minimum(place.astype(np.intp), len(_STOPS) - 2)
    share = (place - below)[..., None]
    colours: NDArray[np.float64] = _STOPS[below] * (1 - share) + _STOPS[below + 1] * share
    return np.rint(colours).astype(np.uint8)


def _reduced(image: NDArray[np.float64]) -> NDArray[np.float64]:
    if image.ndim == 2:
        image = image[None]
    step = max(1, -(-max(image.shape[1:]) // MOST_SIDE))
    reduced: NDArray[np.float64] = image[:, ::step, ::step]
    return reduced


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
