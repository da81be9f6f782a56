"""The examples of docs/extending.md, as the page prints them: each file is written, each command run in its order."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


PAGE = (Path(__file__).parent.parent / "docs" / "extending.md").read_text(encoding="utf-8")
SECONDS = 600.0


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def files(text: str) -> dict[str, str]:
    """The Python blocks that begin with a comment that names their file."""
    blocks = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL)
    return {name: block for name, block in blocks if name != "stepwise.py"}


def commands(text: str) -> list[str]:
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def run(words: list[str], folder: Path) -> str:
    """What a process printed that ended well."""
    environment = {**os.environ, "HOME": str(folder), "COLUMNS": "200"}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def robustarena(line: str, folder: Path) -> str:
    program, *words = shlex.split(line)
    assert program == "robustarena"
    return run([sys.executable, "-c", "import robustarena; robustarena.main()", *words], folder)


def followed(title: str, folder: Path) -> dict[str, str]:
    """Writes a section's files and runs its commands; what each printed."""
    text = section(title)
    for name, block in files(text).items():
        (folder / name).write_text(block, encoding="utf-8")
    return {line: robustarena(line, folder) for line in commands(text)}


def board(folder: Path, suite: str) -> dict[str, dict[str, dict[str, object]]]:
    """The rows of a suite's board by task and entry."""
    found = json.loads(robustarena(f"robustarena table --suite {suite} --json", folder))
    return {task["task"]: {row["entry"]: row for row in task["rows"]} for task in found["tasks"]}


@pytest.mark.slow
def test_an_attack_of_forty_lines_runs_on_all_tasks_against_a_bundle_and_from_python(tmp_path: Path) -> None:
    printed = followed("An attack", tmp_path)
    assert len(files(section("An attack"))["random_search.py"].splitlines()) <= 40
    rows = board(tmp_path, "mini@2+random-search-limit8")
    assert len(rows) == 4
    for found in rows.values():
        assert set(found) == {"undefended", "noise-augmentation", "adversarial-training"}
        for row in found.values():
            (threat,) = row["threats"]  # type: ignore[misc]
            ((name, status),) = {(one["attack"], one["status"]) for one in threat["attacks"]}
            assert (name, status) == ("random-search", "ok")
            assert threat["robust"]["quality"] <= row["clean"]["quality"]  # type: ignore[index]
    strengthened = next(text for line, text in printed.items() if line.startswith("robustarena strengthen"))
    assert "image-digits/mine/random-search/pixels-linf:0.15@scores" in strengthened
    said = run([sys.executable, "use_random_search.py"], tmp_path)
    assert re.fullmatch(r"\d+ of 16 found with \d+ queries\n", said)


@pytest.mark.slow
def test_a_defense_of_thirty_lines_is_trained_on_four_tasks_and_compared_across_them(tmp_path: Path) -> None:
    printed = followed("A defense", tmp_path)
    assert len(files(section("A defense"))["worst_of_noise.py"].splitlines()) <= 30
    rows = board(tmp_path, "mini@1-limit4")
    assert len(rows) == 4
    for found in rows.values():
        assert found["worst-of-noise"]["defense"] == "worst-of-noise"
        assert found["worst-of-noise"]["clean"] is not None
        assert {"undefended", "noise-augmentation", "adversarial-training"} < set(found)
    compared = printed["robustarena compare --suite mini@1-limit4"]
    assert "worst-of-noise" in compared


@pytest.mark.slow
def test_a_task_in_one_file_goes_from_training_to_a_verified_bundle(tmp_path: Path) -> None:
    printed = followed("A task", tmp_path)
    assert len(files(section("A task"))["malware.py"].splitlines()) <= 150
    (rows,) = board(tmp_path, "malware@1").values()
    assert set(rows) == {"undefended", "noise-augmentation", "my-detector"}
    for row in rows.values():
        (threat,) = row["threats"]  # type: ignore[misc]
        assert threat["threat"] == "imports-l0:8"
        assert not threat["problems"]
        left = {one["attack"]: one["figure"]["metric"] for one in threat["attacks"]}
        assert left["greedy-add"] < 0.5 < 0.9 < left["noise"] + 0.05
    assert rows["my-detector"]["clean"] == rows["undefended"]["clean"]  # the same weights under another name
    verified = next(text for line, text in printed.items() if line.startswith("robustarena verify"))
    assert verified.startswith("re-run")
    assert (tmp_path / "malware-board" / "index.html").is_file()
    evidence = next((tmp_path / "runs" / "cells").glob("*.safetensors"))
    assert evidence.stat().st_size > 0
