"""Own data as people keep them: float recordings, labels of -1 and 1, grey palettes, empty texts, rows said twice."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from numpy.typing import NDArray
from own_sources import IMAGE, SPEECH, TEXT, prepared, reviews, sound, write_rows, write_sounds
from PIL import Image

from adversarial.errors import DataError
from benchmarks.cli.main import cli
from tasks.data import CustomData
from tasks.image import custom_data as images
from tasks.sentiment import custom_data as texts
from tasks.speech import custom_data as utterances
from tasks.speech.custom_data import FULL_SCALE, plain_text


pytestmark = [
    pytest.mark.usefixtures("datasets_cache"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
HZ = 16_000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(HZ // 2) / HZ)


def with_sound(folder: Path, samples: NDArray[np.float64], subtype: str = "FLOAT", **options: Any) -> CustomData:
    """Sounds of which one is another."""
    path = write_sounds(folder / "sounds") / "04.wav"
    soundfile.write(path, samples, HZ, subtype=subtype)
    return prepared(folder / "sounds", SPEECH, folder / "out", **options)


def spoilt(value: float) -> NDArray[np.float64]:
    samples = TONE.copy()
    samples[100] = value
    return samples


# Recordings


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (TONE * 6.2, r"row 4 of train: its samples reach 3\.1, and full scale is 1; scale the recording down"),
        (spoilt(1.01), r"row 4 of train: its samples reach 1\.01, and full scale is 1"),
        (TONE * 20_000, r"its samples reach 1e\+04, .* 16 bits are divided by 32768"),
        (np.stack([TONE * 3, -TONE], 1), r"its samples reach 1\.5"),
        (spoilt(np.nan), "row 4 of train: 1 samples are NaN or infinite"),
        (spoilt(-np.inf), "row 4 of train: 1 samples are NaN or infinite"),
        (np.zeros(HZ), "row 4 of train: the recording is silent, .*; leave it out"),
        (TONE * 1e-6, "the recording is silent"),
        (np.stack([TONE, -TONE], 1), "its channels cancel each other when they are mixed; save one of them alone"),
        (np.stack([TONE, -0.999 * TONE], 1), "its channels cancel each other"),
    ],
)
def test_what_sixteen_bits_cannot_hold_is_refused(samples: NDArray[np.float64], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        with_sound(tmp_path, samples)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "PCM_24", "PCM_16"])
def test_full_scale_is_read_to_the_sample(subtype: str, tmp_path: Path) -> None:
    wanted = np.clip(np.round(2 * TONE * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    data = with_sound(tmp_path, wanted / FULL_SCALE, subtype)
    assert data.notes == ()
    parts = [utterances.load(data, split).samples for split in ("test", "validation")]
    assert any(np.array_equal(found, wanted) for part in parts for found in part)


def test_what_a_decoder_overshoots_is_cut_and_told(tmp_path: Path) -> None:
    loud = 0.999 * np.sign(TONE + 1e-9)
    held = io.BytesIO()
    soundfile.write(held, loud, HZ, format="OGG", subtype="VORBIS")
    rows = [{"audio": held.getvalue(), "text": "stop"}]
    for number in range(7):
        plain = io.BytesIO()
        soundfile.write(plain, sound(number, HZ), HZ, format="WAV")
        rows.append({"audio": plain.getvalue(), "text": "play jazz"})
    data = prepared(write_rows(tmp_path / "rows.parquet", rows), SPEECH, tmp_path / "out")
    (note,) = data.notes
    assert note.startswith("1 of 8 recordings overshoot full scale once decoded or resampled, by up to ")
    again = with_sound(tmp_path, loud, "PCM_16", rate=8_000)
    assert any("1 of 12 recordings overshoot full scale" in note for note in again.notes)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("yes [noise] no", "yes no"),
        ("<unk> stop <laughter>", "stop"),
        ("[door slams] go", "go"),
        ("five < six", "five six"),
    ],
)
def test_marks_are_no_words(value: str, text: str) -> None:
    assert plain_text(value, "row 0") == text
    with pytest.raises(DataError, match="row 0: nothing is said"):
        plain_text("[noise] <unk>", "row 0")


# Labels


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ((-1, 1), ("-1", "1")),
        ((1, 5), ("1", "5")),
        ((0, 1), ("negative", "positive")),
        (("ham", "spam"), ("ham", "spam")),
        (("bad", "Good"), ("negative", "positive")),
    ],
)
def test_the_manifest_says_what_the_classes_are(
    values: tuple[Any, Any], classes: tuple[str, ...], tmp_path: Path
) -> None:
    rows = [{**one, "label": values[one["label"]]} for one in reviews()]
    data = prepared(write_rows(tmp_path / "rows.jsonl", rows), TEXT, tmp_path / "out")
    assert data.manifest.classes == classes
    assert data.manifest.reference_models == ("spam" not in classes)
    read, wanted = texts.load(data, "test"), {one["text"]: one["label"] for one in reviews()}
    assert list(read.labels) == [wanted[text] for text in read.texts]


def test_pictures_may_be_labelled_minus_one_and_one(tmp_path: Path) -> None:
    rows = [{"image": png(np.full((8, 8), 10 * number)), "label": 2 * (number % 2) - 1} for number in range(12)]
    data = prepared(write_rows(tmp_path / "rows.parquet", rows), IMAGE, tmp_path / "out")
    assert data.manifest.classes == ("-1", "1")
    read = images.load(data, "test")
    assert [int(level) % 2 for level in np.round(read.images[:, 0, 0, 0] * 25.5)] == read.labels.tolist()


@pytest.mark.parametrize("labels", [(-1, 0, 1), (-1, 0), (-1,)])
def test_minus_one_beside_other_numbers_is_no_label(labels: tuple[int, ...], tmp_path: Path) -> None:
    rows = [{"text": one["text"], "label": labels[number % len(labels)]} for number, one in enumerate(reviews())]
    with pytest.raises(DataError, match=r"label -1 is none of 0, 1|have 1 \(0\)|have 0 \(\)"):
        prepared(write_rows(tmp_path / "rows.jsonl", rows), TEXT, tmp_path / "out")


# Pictures


def png(pixels: Any, palette: list[int] | None = None) -> bytes:
    picture, stream = Image.fromarray(np.asarray(pixels, dtype=np.uint8)), io.BytesIO()
    if palette is not None:
        picture = Image.frombytes("P", picture.size, picture.tobytes())
        picture.putpalette(palette)
    picture.save(stream, "PNG")
    return stream.getvalue()


def test_a_palette_of_greys_is_grey(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    levels = [draw.integers(0, 256, (8, 8)) for _ in range(12)]
    down = [255 - place // 3 for place in range(768)]  # the first colour is white
    plain = [{"image": png(one), "label": number % 2} for number, one in enumerate(levels)]
    turned = [{"image": png(255 - one, down), "label": number % 2} for number, one in enumerate(levels)]
    grey = prepared(write_rows(tmp_path / "plain.parquet", plain), IMAGE, tmp_path / "out")
    assert grey.manifest.facts["shape"] == (1, 8, 8)
    assert prepared(write_rows(tmp_path / "turned.parquet", turned), IMAGE, tmp_path / "out").id == grey.id
    coloured = [*down[:-3], 255, 0, 0]
    turned[5] = {"image": png(np.full((8, 8), 255), coloured), "label": 1}
    found = prepared(write_rows(tmp_path / "red.parquet", turned), IMAGE, tmp_path / "out")
    assert found.manifest.facts["shape"] == (3, 8, 8)


# Rows that are left out


def test_an_empty_text_does_not_stop_a_file(tmp_path: Path) -> None:
    rows = reviews()
    empty = [rows[3] | {"text": " "}, rows[9] | {"text": None}, rows[20] | {"text": ""}]
    long = rows[8] | {"text": "so " * 1_001}
    source = write_rows(tmp_path / "rows.jsonl", [*rows, *empty, long])
    data = prepared(source, TEXT, tmp_path / "out")
    kept = [text for split in ("test", "validation") for text in texts.load(data, split).texts]
    assert sorted(kept) == sorted(row["text"] for row in rows)
    assert sum(int(note.split()[0]) for note in data.notes if "have no text and are left out (row 2" in note) == 3
    assert sum(int(note.split()[0]) for note in data.notes if "have more than 1000 words" in note) == 1
    assert sum(split.rows for split in data.manifest.splits.values()) == 24
    done = CliRunner().invoke(cli, ["prepare", str(source), str(tmp_path / "again"), "--task", TEXT])
    assert [line for line in done.stderr.splitlines() if line] == [f"note: {note}" for note in data.notes]
    assert done.stdout.split("  ")[1] == data.suffix
    told = CliRunner().invoke(cli, ["plan", "mini@1", "--task", TEXT, "--data", str(source), "--out", str(tmp_path)])
    assert data.notes[0] in told.stderr
    with pytest.raises(DataError, match="label None is none of 0, 1"):
        prepared(write_rows(tmp_path / "bad.jsonl", [*rows, rows[0] | {"label": None}]), TEXT, tmp_path / "out")


@pytest.mark.parametrize("task", [TEXT, IMAGE, SPEECH])
def test_what_is_attacked_is_not_learned_on(task: str, tmp_path: Path) -> None:
    """By content: the same file by another name, the same words in other case."""
    made: dict[str, Any] = {
        TEXT: lambda number, again: {"text": ("A Day {}", "a day  {}")[again].format(number), "label": number % 2},
        IMAGE: lambda number, _: {"image": png(np.full((8, 8), number)), "label": number % 2},
        SPEECH: lambda number, again: {"audio": wav(number, ("WAV", "FLAC")[again]), "text": "stop"},
    }
    row = made[task]
    write_rows(tmp_path / "rows" / "test.parquet", [row(number, 0) for number in range(6)])
    write_rows(tmp_path / "rows" / "train.parquet", [row(number, 1) for number in range(4, 14)])
    data = prepared(tmp_path / "rows", task, tmp_path / "out")
    assert {name: split.rows for name, split in data.manifest.splits.items()} == {"test": 6, "validation": 8}
    assert data.notes == ("2 of 10 rows to learn on are attacked, too, and taken out",)
    arrays = data.arrays("validation")
    assert len(arrays["lengths" if task == SPEECH else "labels"]) == 8
    write_rows(tmp_path / "rows" / "train.parquet", [row(number, 1) for number in range(6)])
    with pytest.raises(
        DataError, match="all 6 rows that attacks would learn on are attacked, too: are two splits the s"
    ):
        prepared(tmp_path / "rows", task, tmp_path / "out")


def test_a_table_in_one_piece_that_repeats_itself_is_not_learned_on(tmp_path: Path) -> None:
    rows = [{"text": f"day {number % 15}", "label": number % 2} for number in range(60)]
    data = prepared(write_rows(tmp_path / "rows.csv", [*rows, *reviews(8)]), TEXT, tmp_path / "out")
    assert not set(texts.load(data, "test").texts) & set(texts.load(data, "validation").texts)
    assert any("rows to learn on are attacked, too" in note for note in data.notes)


def wav(number: int, kind: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, sound(number, HZ), HZ, format=kind, subtype="PCM_16")
    return stream.getvalue()
