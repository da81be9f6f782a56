"""A user's own recordings for the task `speech-digits`, or rather of any words: mono, 16 bits, at one sampling rate."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from adversarial.errors import DataError
from tasks.own import Arrays, Manifest, OwnData, cut, joined, texts_as_arrays, texts_of
from tasks.own.reading import Rows, Wanted, opened
from tasks.speech.corpus import SAMPLE_RATE, WORDS, Samples, Utterances


ROLES: Final[Mapping[str, Sequence[str]]] = {
    "audio": ("audio", "speech", "file_name", "path"),
    "text": ("text", "transcription", "transcript", "sentence"),
}
RATES: Final = range(4_000, 96_001)
MOST_PHASES: Final = 1_000  # of a resampling filter
LONGEST_SECONDS: Final = 60.0
_DIGIT: Final = re.compile("[0-9]")
_GAP: Final = re.compile(r"[\W_]+")


def collect(test: Rows, fit: Rows, wanted: Wanted) -> tuple[Manifest, dict[str, Arrays]]:
    """Raises DataError for sounds that cannot be read, rates that differ, and texts beyond the letters a to z."""
    rate_hz, parts, said = wanted.rate_hz, {}, set()
    for split, rows in (("test", test), ("validation", fit)):
        samples, texts = [], []
        for number, row in rows:
            where = f"row {number} of {rows.name}"
            own, own_hz = _sound(row["audio"], rows.folder, where)
            rate_hz = rate_hz or own_hz
            if own_hz != rate_hz:
                if not wanted.rate_hz:
                    raise DataError(f"{where}: {own_hz} Hz, and others have {rate_hz} Hz; --rate HZ resamples all")
                own = _resampled(own, own_hz, rate_hz)
            samples.append(np.clip(np.round(own * 32_768), -32_768, 32_767).astype(np.int16))
            texts.append(plain_text(row["text"], where))
        said |= {word for text in texts for word in text.split()}
        parts[split] = {
            "samples": joined(samples, np.int16),
            "lengths": np.array([len(row) for row in samples], np.int64),
            **texts_as_arrays("texts", texts),
        }
    if rate_hz not in RATES:
        raise DataError(f"{rate_hz} Hz is no rate for speech; --rate HZ resamples, from {RATES[0]} to {RATES[-1]}")
    reads = rate_hz == SAMPLE_RATE and said <= set(WORDS)
    return Manifest("speech-digits", {}, rate_hz=rate_hz, reference_models=reads), parts


def load(data: OwnData, split: str) -> Utterances:
    """A split as the task reads it."""
    arrays = data.arrays(split)
    texts = texts_of(arrays, "texts")
    samples: list[Samples] = cut(arrays["samples"], arrays["lengths"])
    return Utterances(list(data.ids(split)), samples, texts, [""] * len(texts))


def letters_of(data: OwnData) -> str:
    """The letters that a model must be able to write."""
    said = {
        letter for split in data.manifest.splits for text in texts_of(data.arrays(split), "texts") for letter in text
    }
    return "".join(sorted(said - {" "}))


def plain_text(value: Any, where: str) -> str:
    """Lower-case words with single spaces, figures as words, no punctuation: what transcripts are compared as.

    Raises DataError for other letters than a to z, and where nothing is said.
    """
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    text = unicodedata.normalize("NFKD", "" if number is None else str(number)).lower()
    text = "".join(letter for letter in text if not unicodedata.combining(letter) and letter not in "'\u2019")
    text = _DIGIT.sub(lambda figure: f" {WORDS[int(figure[0])]} ", text)
    words = " ".join(_GAP.sub(" ", text).split())
    if not words:
        raise DataError(f"{where}: nothing is said ({value!r}); leave silent recordings out")
    if not re.fullmatch("[a-z ]+", words):
        raise DataError(f"{where}: expected words of the letters a to z, got {value!r:.80}")
    return words


def _sound(value: Any, folder: Path, where: str) -> tuple[NDArray[np.float64], int]:
    """Mono samples in [-1, 1), and their rate."""
    import soundfile

    try:
        if isinstance(value, dict) and value.get("array") is not None:
            samples, rate_hz = np.asarray(value["array"], dtype=np.float64), int(value["sampling_rate"])
        else:
            samples, rate_hz = soundfile.read(opened(value, folder), dtype="float64")
    except (OSError, RuntimeError, TypeError, KeyError, ValueError) as error:
        raise DataError(f"{where}: no sound that can be read: {str(error)[:200]}") from None
    mono: NDArray[np.float64] = samples.mean(1) if samples.ndim == 2 else samples
    if not 0 < len(mono) <= LONGEST_SECONDS * rate_hz or not np.isfinite(mono).all():
        raise DataError(f"{where}: expected up to {LONGEST_SECONDS:g} s of sound, got {len(mono) / rate_hz:.1f} s")
    return mono, int(rate_hz)


def _resampled(samples: NDArray[np.float64], from_hz: int, to_hz: int) -> NDArray[np.float64]:
    from scipy.signal import resample_poly

    common = math.gcd(from_hz, to_hz)
    if max(from_hz, to_hz) // common > MOST_PHASES:
        raise DataError(f"{from_hz} Hz has too little in common with {to_hz} Hz to resample to it")
    found: NDArray[np.float64] = resample_poly(samples, to_hz // common, from_hz // common)
    return found
