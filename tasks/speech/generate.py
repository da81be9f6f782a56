"""Make the recordings of the task `speech-digits` with eSpeak NG: `python -m tasks.speech.generate`.

What is said, by which voice, how loud and over which noise follows from SEED. The waveforms do not: they
depend on the version of eSpeak NG, and some versions draw their breath noise from the clock. So the data was
generated once, is shipped, and its SHA-256 is pinned in `corpus.HASHES`; a new run makes equivalent
recordings and prints their hashes.

The splits share accents but no timbre (eSpeak's "variant"): a model is tested on speakers it never heard.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import random
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import click
import msgspec
import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import lfilter, resample_poly

from tasks.speech.dataset import (
    FOLDER,
    SAMPLE_RATE,
    SPLITS,
    WORDS,
    Manifest,
    Samples,
    Utterance,
    data_hash,
    decode_split,
    paths,
)


SEED = 0
COUNTS = {"train": 1_100, "validation": 160, "test": 220}  # multiples of 20: digits and lengths come out even
LENGTHS = (2, 3, 4, 5)  # digits in a string
PITCHES = (35, 65)  # eSpeak's -p, 0..99
SPEEDS = (130, 190)  # eSpeak's -s, words per minute
PEAKS = (-12.0, -3.0)  # dBFS
NOISES = (-55.0, -45.0)  # RMS of the background noise, dB relative to the peak of the speech
TINTS = (0.0, 0.9)  # pole of the filter that colours the noise: 0 is white, more is darker
COARSE = frozenset({"train"})  # splits stored with fewer bits, to keep the package small: see `record`
LONGEST = 20_800  # samples, 2.6 s: the cost of an attack grows with the length
FULL_SCALE = 32_767  # 0 dBFS in 16-bit samples
MARGIN = 400  # samples, 50 ms, kept before and after the speech
FRAME = 80  # samples, 10 ms: the grain of the silence detector
SILENCE = -42.0  # dB relative to the loudest frame: below it, a frame is silent
SPEED_STEP = 10  # words per minute, added until an utterance is no longer than LONGEST

ACCENTS = (
    "en-us",
    "en-gb",
    "en-gb-scotland",
    "en-gb-x-rp",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
    "en-us-nyc",
)

# (variant, how many accents it speaks); whispering, croaking and robotic variants are left out. The training
# women speak more accents than the men, of whom there are more, so that both are heard about equally often.
VARIANTS = {
    "train": (
        *((name, 4) for name in ("f2", "f3", "f5", "linda", "steph")),
        *((name, 2) for name in ("m1", "m2", "m3", "m4", "m7", "m8", "Alex", "Mike", "max", "boris")),
        *((name, 2) for name in ("grandpa", "quincy", "rob", "Michael", "Nguyen", "adam", "edward")),
        *((name, 2) for name in ("john", "paul")),
    ),
    "validation": tuple((name, 1) for name in ("aunty", "grandma", "m6", "Denis", "Henrique", "victor")),
    "test": tuple((name, 1) for name in ("f1", "f4", "Annie", "belinda", "m5", "Mario", "michel", "sandro")),
}

Waveform = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Order:
    """What to synthesise for one utterance; `speed` is in words per minute, levels as in PEAKS and NOISES."""

    id: str
    transcript: str
    voice: str
    pitch: int
    speed: int
    peak: float
    noise: float
    tint: float


def key(*parts: object) -> int:
    """A seed that depends on SEED and `parts` alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, (SEED, *parts))).encode()).digest()[:8], "big")


def voices(split: str) -> list[str]:
    """The voices of a split as eSpeak names them, accent+variant."""
    turn = count()
    # a step of 3 visits all 8 accents and pairs each variant with accents that are not neighbours in the list
    return [
        f"{ACCENTS[3 * next(turn) % len(ACCENTS)]}+{variant}"
        for variant, accents in VARIANTS[split]
        for _ in range(accents)
    ]


def plan(split: str) -> list[Order]:
    """All utterances of a split: every digit and every length occurs equally often, in shuffled order."""
    shuffle = random.Random(key(split)).shuffle
    lengths = list(LENGTHS) * (COUNTS[split] // len(LENGTHS))
    words = list(WORDS) * (sum(lengths) // len(WORDS))
    shuffle(lengths)
    shuffle(words)

    speakers, supply, orders = voices(split), iter(words), []
    for number, length in enumerate(lengths):
        name = f"{split}-{number:04d}"
        draw = random.Random(key(split, name))
        orders.append(
            Order(
                id=name,
                transcript=" ".join(next(supply) for _ in range(length)),
                voice=speakers[number % len(speakers)],
                pitch=draw.randint(*PITCHES),
                speed=draw.randint(*SPEEDS),
                peak=draw.uniform(*PEAKS),
                noise=draw.uniform(*NOISES),
                tint=draw.uniform(*TINTS),
            )
        )
    return orders


def espeak(*arguments: str) -> bytes:
    """Run eSpeak NG in a process of its own and return what it prints."""
    return subprocess.run(["espeak-ng", *arguments], check=True, capture_output=True).stdout


def check_espeak() -> str:
    """The version of the installed eSpeak NG; stops where it, or a voice that the plan needs, is missing."""
    if shutil.which("espeak-ng") is None:
        raise click.ClickException("the command espeak-ng is missing: install Debian's package espeak-ng")
    # eSpeak NG replaces an unknown variant by its default voice without a word, hence the look at its lists
    variants = set(re.findall(r"!v/(\S+)", espeak("--voices=variant").decode()))
    accents = {line.split()[1] for line in espeak("--voices=en").decode().splitlines()}
    absent = {name for split in SPLITS for name, _ in VARIANTS[split]} - variants | set(ACCENTS) - accents
    if absent:
        raise click.ClickException(f"this espeak-ng lacks the voices {', '.join(sorted(absent))}")
    version = re.search(r"\d+\.\d+(\.\d+)?", espeak("--version").decode())
    return f"eSpeak NG {version.group() if version else 'of unknown version'}"


def trim(speech: Waveform) -> Waveform:
    """Cut silence at both ends down to MARGIN samples, or fill up to as many."""
    frames = speech[: len(speech) // FRAME * FRAME].reshape(-1, FRAME)
    power = np.square(frames).mean(axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (SILENCE / 10))
    first, last = int(loud[0]) * FRAME, (int(loud[-1]) + 1) * FRAME
    return np.pad(speech, MARGIN)[first : last + 2 * MARGIN]


def speak(order: Order) -> Waveform:
    """Synthesise at 8 kHz, trimmed, as fast as it takes to stay within LONGEST."""
    for speed in count(order.speed, SPEED_STEP):
        # half the default amplitude (-a 100): some variants clip at it
        options = ("-v", order.voice, "-p", str(order.pitch), "-s", str(speed), "-a", "50", "--stdout")
        wave, rate = soundfile.read(io.BytesIO(espeak(*options, order.transcript)))
        speech = trim(resample_poly(wave, SAMPLE_RATE, rate))
        if len(speech) <= LONGEST:
            break
    return speech


def record(order: Order, coarse: bool = False) -> Samples:
    """One finished utterance: speech at its peak level over stationary noise, as 16-bit samples.

    `coarse` rounds to multiples of a power of two, since FLAC leaves out low bits that are all zero. The
    error of that rounding is at least 10 dB weaker than the background noise.
    """
    speech = speak(order)
    noise = np.random.default_rng(key(order.id, "noise")).standard_normal(len(speech))
    noise = lfilter([1.0], [1.0, -order.tint], noise)
    peak = FULL_SCALE * 10 ** (order.peak / 20)
    floor = peak * 10 ** (order.noise / 20)
    mix = speech * (peak / np.abs(speech).max()) + noise * (floor / noise.std())
    step = 2 ** math.floor(math.log2(floor)) if coarse else 1  # the rounding error is step / sqrt(12) RMS
    samples: Samples = (np.round(mix / step) * step).astype(np.int16)
    return samples


def write_split(split: str, samples: Sequence[Samples], source: str, folder: Path) -> None:
    """Write a split's FLAC file and manifest, and check that they decode to the same samples."""
    audio, manifest = paths(split, folder)
    soundfile.write(audio, np.concatenate(samples), SAMPLE_RATE, subtype="PCM_16", compression_level=1.0)
    starts = np.cumsum([0, *map(len, samples)])
    entries = [
        Utterance(order.id, int(start), len(wave), order.transcript, order.voice)
        for order, start, wave in zip(plan(split), starts, samples, strict=False)
    ]
    manifest.write_bytes(msgspec.json.encode(Manifest(SAMPLE_RATE, source, entries)))
    decoded = decode_split(split, folder).samples
    if not all(map(np.array_equal, decoded, samples)):
        raise click.ClickException(f"{audio} does not decode to what was written")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=FOLDER, help="Folder for the six files.")
def main(out: Path) -> None:
    """Synthesise all splits and print their SHA-256, to be pinned in corpus.HASHES."""
    source = check_espeak()
    out.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            samples = list(pool.map(partial(record, coarse=split in COARSE), plan(split)))
        write_split(split, samples, source, out)
        seconds = [len(wave) / SAMPLE_RATE for wave in samples]
        size = paths(split, out)[0].stat().st_size / 1e6
        click.echo(
            f"{split}: {len(samples)} utterances, {len(voices(split))} voices, {sum(seconds):.0f} s "
            f"(longest {max(seconds):.2f} s), FLAC {size:.2f} MB, sha256 {data_hash(split, out)}"
        )


if __name__ == "__main__":
    main()
