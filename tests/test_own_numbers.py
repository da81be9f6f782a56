"""Figures in a user's own data: zeros in front are kept, and classes count as people do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from model_sources import registry
from PIL import Image

from adversarial.errors import DataError
from tasks.data.labels import class_names
from tasks.data.preparing import prepare
from tasks.data.reading import Selection, read
from tasks.sentiment.custom_data import ROLES
from tasks.speech.custom_data import plain_text


pytestmark = [
    pytest.mark.usefixtures("datasets_cache"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO:pytest.PytestUnraisableExceptionWarning"),
]


def written(folder: Path, ending: str, rows: list[tuple[object, object]]) -> Path:
    path = folder / f"rows{ending}"
    if ending == ".csv":
        lines = ["text,label", *(f"{text},{label}" for text, label in rows)]
    else:
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_zeros_in_front_are_said(tmp_path: Path) -> None:
    """A reader that guesses types makes 7 of 007, and the right transcript a wrong one."""
    rows: list[tuple[object, object]] = [("007", 0), ("012", 1), ("00", 0), ("9", 1)]
    found, _ = read(Selection(str(written(tmp_path, ".csv", rows))), ROLES)
    texts = {row["text"] for _, row in found}
    assert texts < {text for text, _ in rows}
    assert plain_text("007", "row 0") == "zero zero seven"


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_classes_count_as_people_do(tmp_path: Path, ending: str) -> None:
    rows: list[tuple[object, object]] = [(f"text {number}", number % 12) for number in range(48)]
    parts = read(Selection(str(written(tmp_path, ending, rows))), ROLES)
    assert class_names(parts, ()) == tuple(map(str, range(12)))


def test_folders_of_numbers_count_so_too(tmp_path: Path) -> None:
    for label in range(12):
        for number in range(4):
            path = tmp_path / "pictures" / str(label) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((8, 8), 20 * label + number, np.uint8)).save(path)
    data = prepare(Selection(str(tmp_path / "pictures")), registry().task("image-digits"), tmp_path / "out")
    assert data.manifest.classes == tuple(map(str, range(12)))
    arrays = data.arrays("test")
    assert (arrays["images"][:, 0, 0, 0] // 20).tolist() == arrays["labels"].tolist()


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_what_has_no_label_is_refused(tmp_path: Path, ending: str) -> None:
    rows: list[tuple[object, object]] = [(f"good {number}", -1) for number in range(8)]
    with pytest.raises(DataError):
        prepare(Selection(str(written(tmp_path, ending, rows))), registry().task("sentiment-reviews"), tmp_path / "out")
