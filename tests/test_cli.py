"""The command line as a user meets it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.cli.main import cli


ROOT = Path(__file__).parent.parent


def robustarena(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import robustarena; robustarena.main()", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of one task."""
    out = tmp_path_factory.mktemp("out")
    done = robustarena(
        "run", "mini", "--task", "image-digits", "--limit", "20", "--executor", "serial", "--out", str(out)
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_run_prints_progress_with_time_left_and_the_board(tmp_path: Path) -> None:
    words = ("--task", "image-digits", "--model", "undef*", "--limit", "5", "--executor", "serial")
    done = robustarena("run", "mini@1", *words, "--out", str(tmp_path))
    assert done.returncode == 0
    first, second = re.findall(r"^\[[12]/.*", done.stderr, re.MULTILINE)
    assert "left" not in first, "the first cell is loading for the most part"
    assert re.search(r", \d+:\d\d left$", second)
    assert "image-digits" in done.stdout
    assert "for trying out, not for reporting" in done.stderr
    again = robustarena("run", "mini@1", *words, "--out", str(tmp_path))
    assert "cells, 0 to do" in again.stderr
    assert again.stdout == done.stdout


@pytest.mark.parametrize("command", ["list", "plan mini", "table", "compare"])
def test_reporting_commands_take_json(command: str, measured: Path) -> None:
    words = command.split() + ([] if command == "list" else ["--out", str(measured)])
    done = robustarena(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


def test_site_writes_one_page(measured: Path, tmp_path: Path) -> None:
    done = robustarena("site", str(tmp_path / "page"), "--out", str(measured))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page" / "index.html").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("run", "mimi@1"), 2, "did you mean 'mini@1'"),
        (("run", "mini", "--task", "image-digit"), 2, "did you mean 'image-digits'"),
        (("run", "mini", "--model", "undefnded"), 2, "did you mean 'undefended'"),
        (("run", "mini", "--attack", "pdg"), 2, "did you mean 'pgd'"),
        (("run", "mini", "--executor", "serail"), 2, "did you mean 'serial'"),
        (("train", "image-digits/undefendd"), 2, "did you mean 'undefended'"),
        (("train", "image-digits"), 2, "expected TASK/MODEL"),
        (("list", "attack"), 2, "did you mean 'attacks'"),
        (("list", "--plugin", "nowhere.py"), 1, "no plugin file"),
        (("table", "--out", "/nonexistent"), 1, "no board here yet"),
        (("tabel",), 2, "tabel"),
    ],
)
def test_bad_input_is_answered_with_what_to_do(words: tuple[str, ...], code: int, text: str) -> None:
    done = robustarena(*words)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_record_stops_with_its_path(measured: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(measured, tmp_path / "copy"))
    record = next(iter(sorted((copy / "cells").glob("*.json"))))
    record.write_bytes(record.read_bytes()[:-40])
    done = robustarena("table", "--out", str(copy))
    assert done.returncode == 1
    assert record.name in done.stderr


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = robustarena("run", "mini", "--task", "image-digits", "--limit", "2", "--out", str(tmp_path / "file" / "x"))
    assert done.returncode != 0
    assert str(tmp_path / "file") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists() or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_leaves_no_partial_record(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        done = robustarena(
            "run", "mini", "--task", "image-digits", "--limit", "200", "--executor", "serial", "--out", str(disk)
        )
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr
        from leaderboard.records.record import decode_result

        for path in (disk / "cells").iterdir():
            assert path.suffix in (".json", ".safetensors"), path
            if path.suffix == ".json":
                decode_result(path.read_bytes())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("words", [("--help",), ("list",)])
def test_help_and_list_import_no_torch_and_are_quick(words: tuple[str, ...]) -> None:
    code = "import sys, robustarena\ntry:\n robustarena.main()\nfinally:\n assert 'torch' not in sys.modules\n"
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 10  # half a second on a quiet machine; here only a hang would be seen


def test_every_command_has_help_and_a_place_in_the_docs() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for name, command in cli.commands.items():
        assert command.help, name
        assert f"robustarena {name}" in page, name
