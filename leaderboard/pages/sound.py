"""Sounds as data: URIs, and their spectrograms."""

from __future__ import annotations

import base64
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from leaderboard.pages.pictures import Raster, levels_pixels


PcmSamples = NDArray[np.int16]

MOST_SECONDS: Final = 8.0
WINDOW_SECONDS: Final = 0.025
RANGE_DB: Final = 70.0  # below the loudest, where the colours end
_HEIGHT: Final = 96
_MOST_COLUMNS: Final = 320


def wav_uri(samples: PcmSamples, rate_hz: int) -> str:
    """The first seconds of a mono sound as a 16-bit WAV file in a data: URI."""
    heard = samples[: int(MOST_SECONDS * rate_hz)].astype("<i2").tobytes()
    header = b"RIFF" + struct.pack("<I", 36 + len(heard)) + b"WAVEfmt "
    header += struct.pack("<IHHIIHH", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16) + b"data" + struct.pack("<I", len(heard))
    return f"data:audio/wav;base64,{base64.b64encode(header + heard).decode('ascii')}"


def spectrogram(samples: PcmSamples, rate_hz: int, loudest: float | None = None) -> tuple[Raster, float]:
    """Low frequencies below, time to the right, loudness by colour; and the loudest power, in the unit of samples.

    loudest: where the colours end, so that two sounds can be compared.
    """
    heard = samples[: int(MOST_SECONDS * rate_hz)].astype(np.float64)
    window = max(16, int(WINDOW_SECONDS * rate_hz))
    heard = np.pad(heard, (0, max(0, window - len(heard))))
    hop = max(window // 2, -(-(len(heard) - window) // (_MOST_COLUMNS - 1)))
    starts = np.arange(0, len(heard) - window + 1, hop)
    frames = heard[starts[:, None] + np.arange(window)] * np.hanning(window)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    top = float(power.max(initial=0.0)) if loudest is None else loudest
    decibels = 10 * np.log10(np.maximum(power, 1e-9) / max(top, 1e-9))
    levels = 1 + np.clip(decibels, -RANGE_DB, 0.0) / RANGE_DB
    rows = np.linspace(0, levels.shape[1] - 1, min(_HEIGHT, levels.shape[1])).round().astype(np.intp)
    # Rounded, so that a last bit of the transform does not make other bytes.
    return levels_pixels(np.round(levels[:, rows], 2).T[::-1]), top
