"""A user's own recordings for the task `speech-digits`, or rather of any words: mono, 16 bits, at one sampling rate."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from adversarial.errors import DataError
from tasks.data import CustomData, cut, joined, texts_as_arrays, texts_of
from tasks.data.overlap import apart
from tasks.data.preparing import Collected, Preparing
from tasks.data.reading import Rows, Selection, opened
from tasks.speech.dataset import SAMPLE_RATE, WORDS, Samples, Utterances


ROLES: Final[Mapping[str, Sequence[str]]] = {
    "audio": ("audio", "speech", "file_name", "path"),
    "text": ("text", "transcription", "transcript", "sentence"),
}
RATE: Final = "rate_hz"  # what the manifest tells of all recordings
RATES: Final = range(4_000, 96_001)
MOST_PHASES: Final = 1_000  # of a resampling filter
LONGEST_SECONDS: Final = 60.0
FULL_SCALE: Final = 32_768  # of 16-bit samples; of floating-point ones it is 1
ROUNDING: Final = 0.5 / FULL_SCALE  # beyond full scale that is no more than another number format
LOSSY: Final = ("MPEG", "VORBIS", "OPUS")  # whose decoders overshoot what was encoded
CANCELLED: Final = 1e-4  # of the channels' energy: 40 dB less than any two microphones leave of each other
MARK: Final = re.compile(r"<[^<>]*>|\[[^\[\]]*\]")  # [noise], <unk>: not said, but noted
_DIGIT: Final = re.compile("[0-9]")
_GAP: Final = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class _Utterance:
    """beyond: how far the samples went over full scale before they were cut there, as a share of it."""

    samples: Samples
    text: str
    beyond: float


def collect(test: Rows, fit: Rows, selection: Selection) -> Collected:
    """Raises DataError for sounds that cannot be read, rates that differ (unless the option `rate` is given, in Hz),
    and texts beyond the letters a to z."""
    given = selection.options.get("rate", 0)
    rate_hz, rows = given, dict[str, list[_Utterance]]()
    for split, part in (("test", test), ("validation", fit)):
        rows[split] = []
        for number, row in part:
            where = f"row {number} of {part.name}"
            own, own_hz = _sound(row["audio"], part.folder, where)
            rate_hz = rate_hz or own_hz
            if own_hz != rate_hz:
                if not given:
                    raise DataError(f"{where}: {own_hz} Hz, and others have {rate_hz} Hz; --rate HZ resamples all")
                own = _resampled(own, own_hz, rate_hz)
            rows[split].append(_Utterance(_as_16_bits(own, where), plain_text(row["text"], where), _beyond(own)))
    if rate_hz not in RATES:
        raise DataError(f"{rate_hz} Hz is no rate for speech; --rate HZ resamples, from {RATES[0]} to {RATES[-1]}")
    notes = _cut(rows["test"] + rows["validation"])
    rows["validation"], repeated = apart(rows["test"], rows["validation"], lambda one: one.samples.tobytes())
    said = {word for found in rows.values() for one in found for word in one.text.split()}
    parts = {
        split: {
            "samples": joined([one.samples for one in found], np.int16),
            "lengths": np.array([len(one.samples) for one in found], np.int64),
            **texts_as_arrays("texts", [one.text for one in found]),
        }
        for split, found in rows.items()
    }
    reads = rate_hz == SAMPLE_RATE and said <= set(WORDS)
    counts = {split: len(found) for split, found in rows.items()}
    return Collected(parts, counts, (), {RATE: rate_hz}, reads, notes + repeated)


PREPARING: Final = Preparing(ROLES, collect, options=("rate",))


def rate_of(data: CustomData) -> int:
    """Hz of the samples."""
    return cast("int", data.manifest.facts[RATE])


def _cut(rows: Sequence[_Utterance]) -> tuple[str, ...]:
    """A note on samples that a decoder or a filter drove over full scale."""
    beyond = [one.beyond for one in rows if one.beyond > ROUNDING]
    if not beyond:
        return ()
    return (
        f"{len(beyond)} of {len(rows)} recordings overshoot full scale once decoded or resampled, by up to "
        f"{max(beyond):.0%}, and are cut there; scale them down to avoid it",
    )


def load(data: CustomData, split: str) -> Utterances:
    """A split as the task reads it."""
    arrays = data.arrays(split)
    texts = texts_of(arrays, "texts")
    samples: list[Samples] = cut(arrays["samples"], arrays["lengths"])
    return Utterances(list(data.ids(split)), samples, texts, [""] * len(texts))


def letters_of(data: CustomData) -> str:
    """The letters that a model must be able to write."""
    said = {
        letter for split in data.manifest.splits for text in texts_of(data.arrays(split), "texts") for letter in text
    }
    return "".join(sorted(said - {" "}))


def plain_text(value: Any, where: str) -> str:
    """Lower-case words with single spaces, figures as words, no punctuation, no marks such as [noise] or <unk>: what
    transcripts are compared as.

    Raises DataError for other letters than a to z, and where nothing is said.
    """
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    text = unicodedata.normalize("NFKD", MARK.sub(" ", "" if number is None else str(number))).lower()
    text = "".join(letter for letter in text if not unicodedata.combining(letter) and letter not in "'\u2019")
    text = _DIGIT.sub(lambda figure: f" {WORDS[int(figure[0])]} ", text)
    words = " ".join(_GAP.sub(" ", text).split())
    if not words:
        raise DataError(f"{where}: nothing is said ({value!r}); leave silent recordings out")
    if not re.fullmatch("[a-z ]+", words):
        raise DataError(f"{where}: expected words of the letters a to z, got {value!r:.80}")
    return words


def _sound(value: Any, folder: Path, where: str) -> tuple[NDArray[np.float64], int]:
    """Mono samples, in [-1, 1] but for what decoders overshoot, and their rate."""
    samples, rate_hz, lossy = _read(value, folder, where)
    if not 0 < len(samples) <= LONGEST_SECONDS * rate_hz:
        raise DataError(f"{where}: expected up to {LONGEST_SECONDS:g} s of sound, got {len(samples) / rate_hz:.1f} s")
    if not np.isfinite(samples).all():
        broken = int((~np.isfinite(samples)).sum())
        raise DataError(f"{where}: {broken} samples are NaN or infinite; write the recording anew, or leave it out")
    peak = float(np.abs(samples).max())
    if peak > 1 + ROUNDING and not lossy:
        raise DataError(
            f"{where}: its samples reach {peak:.4g}, and full scale is 1; scale the recording down (samples of 16 bits "
            f"are divided by {FULL_SCALE})"
        )
    mono: NDArray[np.float64] = samples.mean(1) if samples.ndim == 2 else samples
    if float(np.square(mono).mean()) < CANCELLED * float(np.square(samples).mean()):
        raise DataError(f"{where}: its channels cancel each other when they are mixed; save one of them alone")
    return mono, rate_hz


def _read(value: Any, folder: Path, where: str) -> tuple[NDArray[np.float64], int, bool]:
    """Samples [time] or [time, channels], their rate, and whether they were encoded with loss."""
    import soundfile

    try:
        if isinstance(value, dict) and value.get("array") is not None:
            return np.asarray(value["array"], dtype=np.float64), int(value["sampling_rate"]), False
        with soundfile.SoundFile(opened(value, folder)) as file:
            return file.read(dtype="float64"), int(file.samplerate), str(file.subtype).startswith(LOSSY)
    except (OSError, RuntimeError, TypeError, KeyError, ValueError) as error:
        raise DataError(f"{where}: no sound that can be read: {str(error)[:200]}") from None


def _beyond(samples: NDArray[np.float64]) -> float:
    return max(0.0, float(np.abs(samples).max()) - 1)


def _as_16_bits(samples: NDArray[np.float64], where: str) -> Samples:
    """Raises DataError where nothing is left to hear."""
    found = np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    if not found.any():
        raise DataError(f"{where}: the recording is silent, all its 16-bit samples are 0; leave it out")
    return found


def _resampled(samples: NDArray[np.float64], from_hz: int, to_hz: int) -> NDArray[np.float64]:
    from scipy.signal import resample_poly

    common = math.gcd(from_hz, to_hz)
    if max(from_hz, to_hz) // common > MOST_PHASES:
        raise DataError(f"{from_hz} Hz has too little in common with {to_hz} Hz to resample to it")
    found: NDArray[np.float64] = resample_poly(samples, to_hz // common, from_hz // common)
    return found
