"""Preparing a user's own data: the same rows are the same bytes from any format, and nothing is left half-written."""

from __future__ import annotations

import io
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from own_sources import (
    CLASSES,
    IMAGE,
    SAID,
    SPEECH,
    TEXT,
    files_of,
    left_in,
    picture,
    prepared,
    reviews,
    sound,
    write_pictures,
    write_rows,
    write_sounds,
)
from PIL import Image

from adversarial.errors import DataError
from benchmarks.cli.main import cli
from tasks.data import is_prepared, open_data
from tasks.data.reading import FIT_ROWS
from tasks.image import custom_data as images
from tasks.sentiment import custom_data as texts
from tasks.speech import custom_data as utterances


pytestmark = [
    pytest.mark.usefixtures("datasets_cache"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]


def test_the_same_rows_are_the_same_bytes_from_every_format_and_place(tmp_path: Path) -> None:
    rows = reviews()
    sources = [write_rows(tmp_path / f"{ending}.d" / f"rows.{ending}", rows) for ending in ("csv", "tsv", "json")]
    sources += [write_rows(tmp_path / "else [1]" / f"other.{ending}", rows) for ending in ("jsonl", "parquet", "CSV")]
    sources += [tmp_path / "csv.d"]  # a folder with one table
    found = [prepared(source, TEXT, tmp_path / f"out{place}") for place, source in enumerate(sources)]
    assert len({data.id for data in found}) == 1
    first = files_of(found[0])
    assert set(first) == {"data.json", "test.safetensors", "validation.safetensors"}
    assert all(files_of(data) == first for data in found)
    changed = [{**row, "text": f"{row['text']} !"} if place == 5 else row for place, row in enumerate(rows)]
    assert prepared(write_rows(tmp_path / "other.csv", changed), TEXT, tmp_path / "out").id != found[0].id


def test_pictures_in_folders_are_read_to_the_pixel(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures")
    data = prepared(folder, IMAGE, tmp_path / "out")
    manifest = data.manifest
    assert (manifest.classes, manifest.facts["shape"], manifest.reference_models) == (CLASSES, (3, 12, 12), False)
    assert {name: split.rows for name, split in manifest.splits.items()} == {"test": 24, "validation": 8}
    wanted = {picture(label, number).tobytes(): label for label in range(4) for number in range(8)}
    seen = set()
    for split in ("test", "validation"):
        read = images.load(data, split)
        assert read.images.dtype == np.float32
        for values, label in zip(read.images, read.labels.tolist(), strict=True):
            pixels = np.round(values * 255).astype(np.uint8).transpose(1, 2, 0).tobytes()
            assert wanted[pixels] == label
            seen.add(pixels)
    assert seen == set(wanted)


def test_pictures_may_lie_beside_a_table_or_in_it(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures")
    rows = [{"img": f"pictures/{name}/{n}.png", "class": name} for name in CLASSES for n in range(8)]
    held = [{"image": (tmp_path / row["img"]).read_bytes(), "label": row["class"]} for row in rows]
    nested = [{"image": {"bytes": row["image"], "path": None}, "label": row["label"]} for row in held]
    wanted = prepared(folder, IMAGE, tmp_path / "out")
    beside = write_rows(tmp_path / "beside.csv", rows)
    assert prepared(beside, IMAGE, tmp_path / "out", columns={"image": "img"}).id == wanted.id
    for name, table in (("held", held), ("nested", nested)):
        assert prepared(write_rows(tmp_path / f"{name}.parquet", table), IMAGE, tmp_path / "out").id == wanted.id


def test_sounds_are_read_to_the_sample_without_a_further_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    folder = write_sounds(tmp_path / "sounds")
    data = prepared(folder, SPEECH, tmp_path / "out")
    assert prepared(folder, SPEECH, tmp_path / "again").id == data.id  # from what `datasets` has kept of it
    assert (data.manifest.facts, data.manifest.reference_models) == ({"rate_hz": 16_000}, False)
    assert utterances.letters_of(data) == "".join(sorted(set("".join(SAID)) - {" "}))
    wanted = {sound(number, 16_000).tobytes(): SAID[number % 4] for number in range(12)}
    loaded = [utterances.load(data, split) for split in ("test", "validation")]
    found = {
        samples.tobytes(): text for one in loaded for samples, text in zip(one.samples, one.transcripts, strict=True)
    }
    assert found == wanted
    held = [{"audio": (folder / f"{number:02}.wav").read_bytes(), "sentence": SAID[number % 4]} for number in range(12)]
    assert prepared(write_rows(tmp_path / "held.parquet", held), SPEECH, tmp_path / "out").id == data.id
    shutil.move(folder / "metadata.csv", folder / "said.csv")
    assert prepared(folder / "said.csv", SPEECH, tmp_path / "out").id == data.id


def test_a_table_alone_is_cut_in_two_that_share_no_row(tmp_path: Path) -> None:
    data = prepared(write_rows(tmp_path / "rows.csv", reviews(2_400)), TEXT, tmp_path / "out")
    parts = {split: texts.load(data, split) for split in ("test", "validation")}
    assert (len(parts["test"].texts), len(parts["validation"].texts)) == (1_800, FIT_ROWS)
    assert not set(parts["test"].texts) & set(parts["validation"].texts)
    assert data.ids("test")[:2] == ("own-test-0", "own-test-1")


def test_rows_are_mixed_alike_everywhere(tmp_path: Path) -> None:
    rows = [{"text": f"review {'abcdefghijkl'[number]}", "label": number // 6} for number in range(12)]
    data = prepared(write_rows(tmp_path / "rows.jsonl", rows), TEXT, tmp_path / "out")
    order = {split: "".join(text[-1] for text in texts.load(data, split).texts) for split in ("validation", "test")}
    assert order == {"validation": "hfc", "test": "kebajdilg"}
    assert set(texts.load(data, "test").labels[:4]) == {0, 1}  # though the file is sorted by them


def test_a_changed_byte_is_refused_and_preparing_again_mends_it(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.csv", reviews())
    data = prepared(source, TEXT, tmp_path / "out")
    whole, path = files_of(data), data.folder / "test.safetensors"
    spoilt = bytearray(whole[path.name])
    spoilt[-1] ^= 1
    path.write_bytes(spoilt)
    with pytest.raises(DataError, match=r"test\.safetensors has SHA-256 .* it was changed after it was prepared"):
        open_data(data.folder).arrays("test")
    assert open_data(data.folder).arrays("validation")
    path.unlink()
    with pytest.raises(DataError, match=r"cannot read .*test\.safetensors: No such file"):
        open_data(data.folder).arrays("test")
    path.write_bytes(spoilt)
    (data.folder / "data.json").write_bytes(whole["data.json"].replace(b"negative", b"negativ"))
    assert open_data(data.folder).id != data.id
    assert files_of(prepared(source, TEXT, tmp_path / "out")) == whole
    (data.folder / "data.json").write_bytes(whole["data.json"] + b"\n")
    with pytest.raises(DataError, match="was not written by this version"):
        open_data(data.folder)
    (data.folder / "data.json").write_bytes(b"{}")
    with pytest.raises(DataError, match="describes no prepared data"):
        open_data(data.folder)
    with pytest.raises(DataError, match=r"cannot read .*data\.json.*robustarena prepare"):
        open_data(tmp_path)


def test_nothing_is_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, write = write_rows(tmp_path / "rows.csv", reviews()), Path.write_bytes

    def full(self: Path, data: Any) -> int:
        if self.name == "validation.safetensors":
            write(self, bytes(data)[:10])
            raise OSError(28, "No space left on device")
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(DataError, match=r"cannot write .*No space left on device"):
            prepared(source, TEXT, tmp_path / "out")
    assert not left_in(tmp_path / "out")
    with pytest.raises(DataError, match="no column is called label"):
        prepared(write_rows(tmp_path / "bare.csv", [{"text": "x"}] * 8), TEXT, tmp_path / "out")
    assert not left_in(tmp_path / "out")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot write .*name another folder"):
        prepared(source, TEXT, tmp_path / "file")
    assert is_prepared(prepared(source, TEXT, tmp_path / "out").folder)


def test_several_may_prepare_the_same_data_at_once(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "rows.csv", reviews())
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: prepared(source, TEXT, tmp_path / "out").id, range(12)))
    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == [found[0][:12]]


def test_the_command_reads_what_its_options_say(tmp_path: Path) -> None:
    def run(*arguments: str) -> list[str]:
        done = CliRunner().invoke(cli, ["prepare", *arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout.split("  ")

    for split, count in (("train", 8), ("dev", 6), ("extra", 4)):
        named = [{"stars": ("one", "five")[row["label"]], "words": row["text"]} for row in reviews(count)]
        write_rows(tmp_path / "splits" / f"{split}.csv", named)
    columns = ("--column", "text=words", "--column", "label=stars")
    folder, suffix, rows = run(
        str(tmp_path / "splits"), str(tmp_path / "out"), "--task", TEXT, *columns, "--classes", "one, five",
        "--split", "validation", "--fit-split", "train",
    )  # fmt: skip
    data = open_data(Path(folder))
    assert (data.suffix, rows.strip()) == (suffix, "test 6, validation 2")  # six of eight are attacked
    labels = dict(zip(texts.load(data, "test").texts, texts.load(data, "test").labels, strict=True))
    assert labels == {row["text"]: row["label"] for row in reviews(6)}
    folder, _, _ = run(str(write_pictures(tmp_path / "p", 2)), str(tmp_path / "out"), "--task", IMAGE, "--size", "5")
    assert open_data(Path(folder)).manifest.facts["shape"] == (3, 5, 5)
    folder, _, _ = run(str(write_sounds(tmp_path / "s")), str(tmp_path / "out"), "--task", SPEECH, "--rate", "8000")
    slow = utterances.load(open_data(Path(folder)), "test")
    assert open_data(Path(folder)).manifest.facts == {"rate_hz": 8_000}
    assert {len(samples) for samples in slow.samples} <= {-(-(8_000 + 37 * number) // 2) for number in range(12)}


def test_a_picture_is_cut_in_the_middle_and_turned_as_it_was_held(tmp_path: Path) -> None:
    wide, turned = np.zeros((4, 12, 3), np.uint8), Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    rows = []
    for number in range(8):
        stream = io.BytesIO()
        wide[:, 4:8] = 200 + number
        Image.fromarray(wide).save(stream, "PNG", exif=turned)
        rows.append({"image": stream.getvalue(), "label": number % 2})
    table = write_rows(tmp_path / "rows.parquet", rows)
    assert prepared(table, IMAGE, tmp_path / "out").manifest.facts["shape"] == (3, 12, 4)
    middle = images.load(prepared(table, IMAGE, tmp_path / "out", size=4), "test").images
    levels = np.round(middle * 255).astype(int)
    assert (levels == levels[:, :1, :1, :1]).all()
    assert set(levels[:, 0, 0, 0].tolist()) < set(range(200, 208))


def test_coloured_pictures_among_grey_ones_stay_coloured(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "mixed", 4)
    for path in sorted((folder / "dark").glob("*.png")):
        Image.open(path).convert("L").save(path)
    data = prepared(folder, IMAGE, tmp_path / "out")
    read = images.load(data, "test")
    dark = read.images[read.labels == CLASSES.index("dark")]
    assert data.manifest.facts["shape"] == (3, 12, 12)
    assert bool((dark == dark[:, :1]).all())
    assert not bool((read.images == read.images[:, :1]).all())


def test_sounds_of_two_channels_are_mixed(tmp_path: Path) -> None:
    folder = write_sounds(tmp_path / "sounds")
    wanted = {}
    for path in folder.glob("*.wav"):
        one = sound(int(path.stem), 16_000)
        wanted[len(one)] = one
        soundfile.write(path, np.stack([one, np.zeros_like(one)], 1), 16_000, subtype="PCM_16")
    for found in utterances.load(prepared(folder, SPEECH, tmp_path / "out"), "test").samples:
        assert np.abs(found.astype(int) * 2 - wanted[len(found)]).max() <= 1
