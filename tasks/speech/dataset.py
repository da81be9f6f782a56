"""The shipped recordings of the task `speech-digits`: spoken digit strings at 8 kHz, 16-bit, mono.

A split is two files: `<split>.flac` holds all utterances joined end to end, `<split>.json` tells where each
one starts and what it says. One SHA-256 pins both, since `generate.py` cannot remake them bit for bit.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np
import numpy.typing as npt
import soundfile

from adversarial.errors import UnavailableData, UnknownName


SAMPLE_RATE = 8_000  # Hz
SPLITS = ("train", "validation", "test")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FOLDER = Path(__file__).parent / "data"

# SHA-256 over the bytes of <split>.flac followed by those of <split>.json
HASHES: Mapping[str, str] = MappingProxyType(
    {
        "train": "9e7380ae5e971f34f87bb4fab9b93121dad4e506c21624a0d44a9a1cbed6a6b6",
        "validation": "478de7c536fb9cf515f3e9984464cfde15abaef1da7b126a7a19e3d1d12c2813",
        "test": "bea3209b994b8ca0d1a0611a04237faeacba75f86e89fecbc666e87b7f4c48ac",
    }
)

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Utterance:
    """One manifest entry: `start` and `length` count samples in the split's FLAC file."""

    id: str
    start: int
    length: int
    transcript: str
    voice: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `<split>.json`; `source` names the synthesiser and its version."""

    sample_rate: int
    source: str
    utterances: list[Utterance]


@dataclass(frozen=True, slots=True)
class Utterances:
    """A split in memory: four lists in the same order; each waveform is a 1-D int16 array at 8 kHz."""

    ids: list[str]
    samples: list[Samples]
    transcripts: list[str]
    voices: list[str]

    def __len__(self) -> int:
        return len(self.ids)


def paths(split: str, folder: Path = FOLDER) -> tuple[Path, Path]:
    """The FLAC file and the manifest of a split."""
    if split not in SPLITS:
        raise UnknownName.among("split", split, SPLITS)
    return folder / f"{split}.flac", folder / f"{split}.json"


def data_hash(split: str, folder: Path = FOLDER) -> str:
    """SHA-256 (hex) of a split as it lies on disk: its FLAC bytes followed by its manifest bytes."""
    audio, manifest = _read(split, folder)
    return _digest(audio, manifest)


def load_split(split: str, folder: Path = FOLDER) -> Utterances:
    """Check a split against its pinned hash and decode it.

    Raises UnavailableData for a missing file and for one whose content is not the pinned one.
    """
    audio, manifest = _read(split, folder)
    found = _digest(audio, manifest)
    if found != HASHES[split]:
        raise UnavailableData(
            f"corrupt data of the split {split!r} in {folder}: expected sha256 {HASHES[split]}, "
            f"found {found}: reinstall or restore the file"
        )
    return _decode(split, audio, manifest)


def decode_split(split: str, folder: Path = FOLDER) -> Utterances:
    """Decode a split without the check against the pinned hash: for data that was just generated."""
    return _decode(split, *_read(split, folder))


def _read(split: str, folder: Path) -> tuple[bytes, bytes]:
    """The bytes of a split's two files; both the hash and the decoder work on these very bytes."""
    try:
        audio, manifest = (path.read_bytes() for path in paths(split, folder))
    except FileNotFoundError as error:
        raise UnavailableData(
            f"missing data file {error.filename} of the split {split!r}: reinstall or restore the file"
        ) from error
    return audio, manifest


def _digest(audio: bytes, manifest: bytes) -> str:
    digest = hashlib.sha256(audio)
    digest.update(manifest)
    return digest.hexdigest()


def _decode(split: str, audio: bytes, manifest: bytes) -> Utterances:
    """Cut the decoded FLAC stream where the manifest says; the waveforms are views of one array."""
    try:
        index = msgspec.json.decode(manifest, type=Manifest)
    except msgspec.DecodeError as error:
        raise UnavailableData(f"unreadable manifest of the split {split!r}: {error}") from error
    try:
        stream, rate = soundfile.read(io.BytesIO(audio), dtype="int16")
    except soundfile.LibsndfileError as error:
        raise UnavailableData(f"unreadable audio of the split {split!r}: {error}") from error
    if stream.ndim != 1 or not rate == index.sample_rate == SAMPLE_RATE:
        raise UnavailableData(f"the audio of the split {split!r} is not mono at {SAMPLE_RATE} Hz")

    end = 0
    for entry in index.utterances:
        if entry.start != end or entry.length <= 0:
            raise UnavailableData(f"the manifest of the split {split!r} has a gap or an overlap at {entry.id}")
        end += entry.length
    if end != len(stream):
        raise UnavailableData(f"the split {split!r} has {len(stream)} samples, its manifest tells of {end}")

    return Utterances(
        ids=[entry.id for entry in index.utterances],
        samples=[stream[entry.start : entry.start + entry.length] for entry in index.utterances],
        transcripts=[entry.transcript for entry in index.utterances],
        voices=[entry.voice for entry in index.utterances],
    )
