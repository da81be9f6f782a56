"""Small data sets of a user's own, written as users keep theirs: tables, pictures in folders, sounds with a table."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile
from model_sources import registry
from numpy.typing import NDArray
from PIL import Image

from tasks.data import CustomData
from tasks.data.preparing import prepare
from tasks.data.reading import Selection


IMAGE, SPEECH, TEXT = "image-digits", "speech-digits", "sentiment-reviews"
CLASSES = ("blue", "dark", "green", "red")
GOOD = ("a gripping tale", "we loved the tarts", "wonderful acting", "the quiet wharf enchanted us")
BAD = ("a dreary tale", "we loathed the tarts", "wooden acting", "the noisy wharf annoyed us")
SAID = ("turn on the lamp", "play jazz", "stop", "turn the music down")


def reviews(count: int = 24) -> list[dict[str, Any]]:
    """Texts, each another one, and labels: first the negative ones, then the positive ones."""
    half = count // 2
    return [
        {"text": f"{(BAD, GOOD)[label][number % 4]} on day {number}", "label": label}
        for label in (0, 1)
        for number in range(half)
    ]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A table in the format that the file's name ends in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    match path.suffix:
        case ".parquet":
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist([dict(row) for row in rows]), path)
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        case ".json":
            path.write_text(json.dumps([dict(row) for row in rows]), encoding="utf-8")
        case _:
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)
    return path


def picture(label: int, number: int, size: tuple[int, int] = (12, 12)) -> NDArray[np.uint8]:
    """Noise of a class's colour, uint8 [height, width, 3]."""
    draw = np.random.default_rng([label, number])
    pixels = draw.integers(0, 100, (*size, 3))
    if CLASSES[label] != "dark":
        pixels[..., ("red", "green", "blue").index(CLASSES[label])] += 120
    return pixels.astype(np.uint8)


def write_pictures(folder: Path, count: int = 8, size: tuple[int, int] = (12, 12)) -> Path:
    """So many pictures of each class, in a folder for each."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.fromarray(picture(label, number, size)).save(folder / name / f"{number}.png")
    return folder


def sound(number: int, rate_hz: int) -> NDArray[np.int16]:
    """Half a second of a chord, another one for each number."""
    time = np.arange(rate_hz // 2 + 37 * number) / rate_hz
    chord = np.sin(2 * np.pi * (220 + 30 * number) * time) + np.sin(2 * np.pi * (510 + 70 * number) * time)
    return np.asarray(np.round(6_000 * chord), dtype=np.int16)


def write_sounds(folder: Path, count: int = 12, rate_hz: int = 16_000) -> Path:
    """Sounds, and a metadata.csv that says what they say."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        soundfile.write(folder / f"{number:02}.wav", sound(number, rate_hz), rate_hz, subtype="PCM_16")
        rows.append({"file_name": f"{number:02}.wav", "text": SAID[number % len(SAID)]})
    write_rows(folder / "metadata.csv", rows)
    return folder


def prepared(source: Path, task: str, folder: Path, **options: Any) -> CustomData:
    numbers = {name: options.pop(name) for name in ("size", "rate") if name in options}
    return prepare(Selection(str(source), **options, options=numbers), registry().task(task), folder)


def files_of(data: CustomData) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data.folder.iterdir()}


def left_in(folder: Path) -> Iterable[Path]:
    """Everything below a folder, hidden or not, whether it is there or not."""
    return sorted(folder.rglob("*"))


def named_on(page: Path) -> dict[str, str]:
    """What a page says that the examples on it are, by their ids."""
    text = page.read_text(encoding="utf-8")
    return dict(re.findall(r"<b>(own-[a-z0-9-]+)</b>, <q>(.*?)</q>", text))
