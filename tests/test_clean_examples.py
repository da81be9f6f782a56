"""What examples were before they were disturbed: of each task's own data, of a user's, of a plugin's task."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from model_sources import registry
from own_sources import IMAGE, SPEECH, TEXT, prepared, reviews, write_pictures, write_rows, write_sounds
from synthetic import cell

from adversarial.entries import TaskEntry
from benchmarks.catalog import catalog
from benchmarks.clean_examples import clean_examples
from leaderboard.records.examples import Disturbed, Original
from leaderboard.records.record import Cell
from tasks.control.cartpole import CARTPOLE
from tasks.image import custom_data as images
from tasks.image.dataset import data_hash, load_split
from tasks.measuring.environments import Episodes
from tasks.sentiment.dataset import data_hash as reviews_hash
from tasks.speech.dataset import HASHES, SAMPLE_RATE


pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in.*FileIO:pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).parent.parent


def of(task: str, digest: str, split: str = "test") -> Cell:
    return msgspec.structs.replace(cell(), task=task, data_hash=digest, split=split)


def test_the_bundled_tasks_know_what_their_examples_were() -> None:
    originals, digits = clean_examples(registry()), load_split("test")
    asked = {digits.ids[3]: Disturbed("picture", digits.images[3]), "digit-unknown": Disturbed("picture")}
    found = originals(of(IMAGE, data_hash("test")), asked)
    assert list(found) == [digits.ids[3]]
    assert found[digits.ids[3]].truth == str(digits.labels[3])
    assert np.array_equal(found[digits.ids[3]].values, digits.images[3])  # type: ignore[arg-type]
    text = originals(of(TEXT, reviews_hash("test")), {"test-0": Disturbed("text")})
    assert text["test-0"].truth in ("negative", "positive")
    heard = originals(of(SPEECH, HASHES["test"]), {"test-0000": Disturbed("sound")})
    assert heard["test-0000"].rate_hz == SAMPLE_RATE


def test_other_data_other_splits_and_other_tasks_show_nothing() -> None:
    originals, asked = clean_examples(registry()), {load_split("test").ids[3]: Disturbed("picture")}
    assert originals(of(IMAGE, "0" * 64), asked) == {}
    assert originals(of(IMAGE, data_hash("test"), "validation"), asked) == {}
    assert originals(of(IMAGE, data_hash("test"), "no split at all"), asked) == {}
    assert originals(of("a-strangers-task", data_hash("test")), asked) == {}


def test_true_observations_are_those_that_the_actions_led_to() -> None:
    actions = np.zeros(500, dtype=np.int64)
    asked = {f"episode-{seed}": Disturbed("episode", actions=actions) for seed in (1003, 1000)}
    seen = clean_examples(registry())(of("control-cartpole", CARTPOLE.data_hash("test")), asked)
    assert seen["episode-1000"].names == CARTPOLE.numbers
    alone = Episodes(CARTPOLE, [1000])
    for observation in seen["episode-1000"].values:  # type: ignore[union-attr]
        assert np.array_equal(observation, alone.observe()[0])
        alone.step(np.zeros(1, dtype=np.int64))
    assert not len(alone.slots)


@pytest.mark.usefixtures("datasets_cache")
def test_a_users_own_examples_are_found_by_their_data(tmp_path: Path) -> None:
    pictures = prepared(write_pictures(tmp_path / "pictures"), IMAGE, tmp_path / "data")
    sounds = prepared(write_sounds(tmp_path / "sounds"), SPEECH, tmp_path / "data")
    texts = prepared(write_rows(tmp_path / "texts.csv", reviews()), TEXT, tmp_path / "data")
    originals = clean_examples(registry(), [pictures, sounds, texts])
    asked: dict[str, Any] = {"own-test-0": Disturbed("picture"), "own-test-1": Disturbed("picture"), "own-no": None}
    found = originals(of(IMAGE, pictures.data_hash("test")), asked)
    read = images.load(pictures, "test")
    assert list(found) == ["own-test-0", "own-test-1"]
    assert np.array_equal(found["own-test-1"].values, read.images[1])  # type: ignore[arg-type]
    assert found["own-test-1"].truth == pictures.manifest.classes[read.labels[1]]
    assert originals(of(SPEECH, sounds.data_hash("test")), asked)["own-test-0"].rate_hz == 16_000
    assert "on day" in originals(of(TEXT, texts.data_hash("test")), asked)["own-test-0"].text
    assert originals(of(IMAGE, pictures.data_hash("test"), "validation"), asked) == {}
    assert clean_examples(registry())(of(IMAGE, pictures.data_hash("test")), asked) == {}


def test_a_task_of_a_plugin_shows_its_own_or_nothing() -> None:
    known, entry = catalog(), registry().task(IMAGE)

    def shown(_cell: Cell, disturbed: Any, data: Any) -> dict[str, Original]:
        assert data is None
        return {name: Original(text="before") for name in disturbed}

    for name, code in (("mute", ""), ("telling", shown)):
        known.add(TaskEntry(name, entry.code, lambda split: f"of {split}", "", (), (), "", clean_examples=code))
    originals, asked = clean_examples(known), {"one": Disturbed("text")}
    assert originals(of("mute", "of test"), asked) == {}
    assert originals(of("telling", "of test"), asked)["one"].text == "before"
    assert originals(of("telling", "of another"), asked) == {}


def test_pages_need_no_torch() -> None:
    code = "import sys, importlib; from adversarial.registry import resolve; from benchmarks.catalog import catalog\n"
    code += "from benchmarks.clean_examples import clean_examples\n"
    code += "found = [resolve(task.clean_examples) for task in catalog().tasks()]\n"
    code += "assert len(found) == 4 and not {'torch', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
