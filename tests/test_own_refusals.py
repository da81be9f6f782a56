"""Data that do not fit a task: each is refused with the row and with what to do, and nothing is written."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from own_sources import IMAGE, SPEECH, TEXT, left_in, prepared, reviews, write_pictures, write_rows, write_sounds
from PIL import Image

from adversarial.errors import DataError, InvalidOption, UnknownName
from benchmarks.cli.main import cli
from tasks.sentiment import custom_data as texts
from tasks.speech.custom_data import plain_text


pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("datasets_cache"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
Make = Callable[[Path], Path]


def png(pixels: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(stream, "PNG")
    return stream.getvalue()


def table(changes: dict[str, Any] | None = None, row: int = 7, **columns: Any) -> Make:
    """A table of reviews in which one row, or each of them, is otherwise."""

    def make(folder: Path) -> Path:
        rows = [{**one, **columns} for one in reviews()]
        rows[row] |= changes or {}
        return write_rows(folder / "rows.jsonl", rows)

    return make


def splits(**parts: list[dict[str, Any]]) -> Make:
    def make(folder: Path) -> Path:
        for name, rows in parts.items():
            write_rows(folder / "splits" / f"{name}.parquet", rows)
        return folder / "splits"

    return make


def pictures(spoil: Callable[[Path], Any]) -> Make:
    def make(folder: Path) -> Path:
        spoil(write_pictures(folder / "pictures", 3) / "dark" / "1.png")
        return folder / "pictures"

    return make


def sounds(spoil: Callable[[Path], Any]) -> Make:
    def make(folder: Path) -> Path:
        spoil(write_sounds(folder / "sounds") / "04.wav")
        return folder / "sounds"

    return make


def resized(path: Path) -> None:
    Image.open(path).resize((9, 8)).save(path)


def deep(path: Path) -> None:
    Image.fromarray(np.full((12, 12), 40_000, np.uint16)).save(path)


def written(samples: Any, rate_hz: int = 16_000) -> Make:
    return sounds(lambda path: soundfile.write(path, samples, rate_hz))


def said(text: str) -> Make:
    def make(folder: Path) -> Path:
        write_sounds(folder / "sounds")
        rows = [{"file_name": f"{number:02}.wav", "text": "stop" if number else text} for number in range(12)]
        write_rows(folder / "sounds" / "metadata.csv", rows)
        return folder / "sounds"

    return make


def bare(folder: Path) -> Path:
    (folder / "table.parquet").write_bytes(b"PAR1 and nothing else")
    return folder / "table.parquet"


def other_ending(folder: Path) -> Path:
    return write_rows(folder / "rows.txt", reviews())


def pattern(folder: Path) -> Path:
    return write_rows(folder / "all*" / "rows.csv", reviews()).parent


HALF = reviews(8)
WRONG: dict[str, tuple[str, Make, dict[str, Any], str]] = {
    "a label of no class": (
        TEXT, splits(test=[{**one, "label": -1} for one in HALF]), {"classes": ("bad", "good")},
        r"row \d of test: label -1 is none of bad, good; choose a split that has labels",
    ),
    "three classes": (TEXT, table({"label": 2}), {}, r"two classes today, .* have 3 \(0, 1, 2\); .* --classes"),
    "no label": (TEXT, table({"label": None}), {}, "row 7 of train: label None is none of 0, 1"),
    "five classes": (
        TEXT, splits(test=[{**one, "label": place % 5} for place, one in enumerate(reviews(20))], train=reviews(8)), {},
        r"text tasks have two classes today, .* have 5 \(0, 1, 2, 3, 4\)",
    ),
    "no texts": (TEXT, table(text=" "), {}, "all 18 rows of train have no text; name their column with --column"),
    "one file in two splits": (
        TEXT, splits(test=HALF, train=HALF), {}, "all 8 rows that attacks would learn on are attacked, too"
    ),
    "no such column": (TEXT, table(), {"columns": {"text": "txt"}}, "called 'txt'; did you mean 'text'"),
    "no such role": (TEXT, table(), {"columns": {"txet": "text"}}, "called 'txet'; did you mean 'text'"),
    "two columns": (TEXT, table(sentence="x"), {}, "text and sentence are all called .*--column text=NAME; "),
    "no split": (TEXT, table(), {"split": "test"}, "no split is called 'test'; known: train"),
    "no fit split": (TEXT, table(), {"fit_split": "trian"}, "no fit split is called 'trian'; did you mean 'train'"),
    "one split for both": (
        TEXT, splits(test=HALF, train=HALF), {"fit_split": "test"}, "must not learn on what .*: test is both"
    ),
    "too few rows": (TEXT, lambda folder: write_rows(folder / "r.csv", HALF[:3]), {}, "has 3 rows; at least 4 are"),
    "an empty split": (TEXT, splits(test=HALF, train=[]), {}, "cannot be read as a data set|a split is empty"),
    "an unreadable file": (TEXT, bare, {}, r"table\.parquet cannot be read as a data set: .*(Parquet|parquet)"),
    "another ending": (TEXT, other_ending, {}, r"expected a file that ends in \.csv, \.tsv, .*, or a folder"),
    "a pattern": (TEXT, pattern, {}, "a folder's name with .* is read as a pattern; rename it"),
    "nothing there": (TEXT, lambda folder: folder / "none" / "of" / "these", {}, "there is no file or folder"),
    "two sizes": (IMAGE, pictures(resized), {}, r"picture of (9 x 8|12 x 12), and others have .*; --size N resizes"),
    "16 bits": (IMAGE, pictures(deep), {}, r"row 4 of train: a picture of more than 8 bits a channel \(I;16\)"),
    "no picture": (IMAGE, pictures(lambda path: path.write_bytes(b"GIF")), {}, "row 4 .* no picture that can"),
    "a cut picture": (
        IMAGE, pictures(lambda path: path.write_bytes(path.read_bytes()[:200])), {}, "row 4 .* no picture that"
    ),
    "no bytes": (IMAGE, table(image=3), {}, r"row \d+ of train: no picture that can be read: the column holds no file"),
    "a huge picture": (
        IMAGE,
        lambda folder: write_rows(folder / "r.parquet", [{"image": png(np.zeros((2, 1_025), np.uint8)), "label": n % 2}
                                                         for n in range(4)]),
        {},
        r"row \d of train: a picture of 1025 x 2; --size N makes it smaller",
    ),
    "one class": (IMAGE, table(image="x.png", label=1), {}, "there are 1 classes; a classifier needs two"),
    "two rates": (SPEECH, written(np.zeros(900), 22_050), {}, r"\d+ Hz, and others have \d+ Hz; --rate HZ resam"),
    "primes": (SPEECH, written(np.zeros(900), 15_991), {"rate": 16_000}, "too little in common with 16000 Hz"),
    "no rate for speech": (
        SPEECH, lambda folder: write_sounds(folder / "s", rate_hz=192_000), {}, "192000 Hz is no rate .*; --rate"
    ),
    "no sound": (SPEECH, sounds(lambda path: path.write_bytes(b"RIFF")), {}, "row 4 of train: no sound that can"),
    "an empty sound": (SPEECH, written(np.zeros(0)), {}, r"row 4 of train: expected up to 60 s of sound, got 0\.0 s"),
    "a long sound": (SPEECH, written(np.zeros(61 * 16_000)), {}, r"row 4 .* expected up to 60 s .*, got 61\.0 s"),
    "other letters": (SPEECH, said("straße"), {}, "row 0 of train: expected words of the letters a to z, got 'straße'"),
    "silence": (SPEECH, said("..."), {}, r"row 0 of train: nothing is said \('\.\.\.'\); leave silent recordings out"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_says_why(name: str, tmp_path: Path) -> None:
    task, make, options, said_of_it = WRONG[name]
    with pytest.raises((DataError, UnknownName), match=said_of_it):
        prepared(make(tmp_path), task, tmp_path / "out", **options)
    assert not left_in(tmp_path / "out")


def test_agents_have_no_data_and_tasks_not_each_others(tmp_path: Path) -> None:
    source = table()(tmp_path)
    with pytest.raises(InvalidOption, match="control-cartpole takes no data but its own"):
        prepared(source, "control-cartpole", tmp_path / "out")
    with pytest.raises(InvalidOption, match="sentiment-reviews does not know --rate; of such options it has none"):
        prepared(source, TEXT, tmp_path / "out", rate=8_000)
    with pytest.raises(InvalidOption, match="image-digits does not know --rate; of such options it has --size"):
        prepared(source, IMAGE, tmp_path / "out", rate=8_000)
    data = prepared(source, TEXT, tmp_path / "out")
    done = CliRunner().invoke(cli, ["check", "image-digits/undefended", "--task", IMAGE, "--data", str(data.folder)])
    assert isinstance(done.exception, InvalidOption)
    assert f"were prepared for {TEXT}, not for {IMAGE}" in str(done.exception)
    done = CliRunner().invoke(cli, ["plan", "mini", "--task", TEXT, "--data", str(data.folder), "--classes", "a,b"])
    assert isinstance(done.exception, InvalidOption)
    assert "is prepared already" in str(done.exception)
    for wrong in (["--column", "label"], ["--column", "=x"]):
        done = CliRunner().invoke(cli, ["prepare", str(source), str(tmp_path / "out"), "--task", TEXT, *wrong])
        assert (done.exit_code, "expected --column ROLE=NAME" in done.output) == (2, True)
    done = CliRunner().invoke(cli, ["plan", "mini@1", "--size", "8"])
    assert (done.exit_code, "say how to read --data" in done.output) == (2, True)
    done = CliRunner().invoke(cli, ["plan", "mini@1", "--data", str(data.folder)])
    assert (done.exit_code, "--data is for one task" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ((0, 1), {}),
        ((False, True), {}),
        ((0.0, 1.0), {}),
        (("0", "1"), {}),
        (("neg", "pos"), {}),
        (("Negative", "Positive"), {}),
        ((0, 1), {"classes": ("bad", "good")}),
        ((1, 5), {"classes": ("1", "5")}),
        ((1, 0), {"classes": ("1", "0")}),
        (("up", "down"), {"classes": ("up", "down")}),
        (("ham", "spam"), {}),
        (("ham", "spam"), {"classes": ("ham", "spam")}),
        ((-1, 1), {}),
        (("-1", "1"), {}),
        ((-1.0, 1.0), {}),
        ((1, 5), {}),
        ((0, 4), {}),
        ((0, 1), {"classes": ("neg", "pos")}),
    ],
)
def test_labels_are_numbers_or_names(values: tuple[Any, Any], options: dict[str, Any], tmp_path: Path) -> None:
    rows = [{**one, "label": values[one["label"]]} for one in reviews()]
    read = texts.load(prepared(write_rows(tmp_path / "rows.jsonl", rows), TEXT, tmp_path / "out", **options), "test")
    wanted = {one["text"]: one["label"] for one in reviews()}
    assert [wanted[text] for text in read.texts] == list(read.labels)


@pytest.mark.parametrize(
    ("names", "classes", "swapped"),
    [
        (("neg", "pos"), (), False),
        (("neg", "pos"), ("pos", "neg"), False),
        (("pos", "neg"), (), True),
        (("pos", "neg"), ("neg", "pos"), True),
        (("bad", "good"), ("negative", "positive"), False),
    ],
)
def test_names_that_a_data_set_gives_its_labels_count(
    names: tuple[str, ...], classes: tuple[str, ...], swapped: bool, tmp_path: Path
) -> None:
    kinds = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(names))})
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(reviews(), features=kinds).to_parquet(tmp_path / "rows.parquet")
    read = texts.load(prepared(tmp_path / "rows.parquet", TEXT, tmp_path / "out", classes=classes), "test")
    wanted = {one["text"]: one["label"] for one in reviews()}
    assert [wanted[text] ^ swapped for text in read.texts] == list(read.labels)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Turn 2 lamps on!", "turn two lamps on"),
        ("12", "one two"),
        (7, "seven"),
        (7.0, "seven"),
        ("it's o\u2019clock", "its oclock"),
        ("Café  déjà-vu", "cafe deja vu"),
        ("one_two\tthree", "one two three"),
        ("x²", "x two"),
    ],
)
def test_texts_become_words_of_letters(value: Any, text: str) -> None:
    assert plain_text(value, "row 0") == text
