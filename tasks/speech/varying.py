"""Harmless variation of training data: the same words a little faster or slower, louder or softer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks.speech.dataset import Samples


def varied(samples: Samples, draw: np.random.Generator, options: Mapping[str, Any]) -> Samples:
    """A variant of an utterance, on the 16-bit grid; the utterance itself without options.

    tempo: the range of the factor of speed, and with it of pitch. gain_db: the range of gain in decibels;
    what would clip is made as loud as fits.
    """
    wave = samples.astype(np.float64)
    if "tempo" in options:
        tempo = draw.uniform(*options["tempo"])
        places = np.arange(0, len(wave) - 1, tempo)
        wave = np.interp(places, np.arange(len(wave)), wave)
    if "gain_db" in options:
        gain = 10 ** (draw.uniform(*options["gain_db"]) / 20)
        wave = wave * min(gain, 32_767 / max(1.0, np.abs(wave).max()))
    changed: Samples = np.round(wave).astype(np.int16)
    return changed
