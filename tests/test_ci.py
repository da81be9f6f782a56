"""A failed test runs once more, alone: one that then passes is named, and nothing that failed counts as passed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest


pytestmark = pytest.mark.slow  # each starts two or three sessions of pytest
RERUN = Path(__file__).parent.parent / ".ci" / "rerun.py"
TOGETHER = ("-p", "xdist.plugin", "--numprocesses=2", "--dist=loadfile")

PASSES = "def test_passes():\n    pass\n"
SKIPS = "import pytest\n\ndef test_skips():\n    pytest.skip('not here')\n"
FILE_SKIPS = "import pytest\n\npytest.skip('none of it', allow_module_level=True)\n"
FAILS = "def test_fails():\n    assert False\n"
# What happens the first time only; the file `seen` remembers.
ONCE = """
import os, pytest
from pathlib import Path

@pytest.fixture
def once():
    first = not Path("seen").exists()
    Path("seen").touch()
    return first
"""
FLAKY = ONCE + "\n@pytest.mark.parametrize('name', ['a b[c]::d/e'])\ndef test_flaky(once, name):\n    assert not once\n"
DIES_ONCE = ONCE + "\ndef test_dies(once):\n    if once:\n        os._exit(0)\n\ndef test_after():\n    pass\n"
DIES = "import os\n\ndef test_dies():\n    os._exit(0)\n\ndef test_after():\n    pass\n"
TORN = ONCE + "\n@pytest.fixture\ndef torn(once):\n    yield\n    assert not once\n\ndef test_torn(torn):\n    pass\n"
HANGS_LATER = ONCE + "\ndef test_hangs(once):\n    assert not once\n    import time\n    time.sleep(600)\n"
SKIPS_LATER = ONCE + "\ndef test_later(once):\n    assert not once or False\n    pytest.skip('not any more')\n"
UNREADABLE = "import nothing_of_this_name\n"


class Ran(NamedTuple):
    """code: the exit code. last: the last three lines of the text."""

    code: int
    last: list[str]
    text: str


def ran(folder: Path, *arguments: str, script: tuple[str, ...] = (str(RERUN),), **files: str) -> Ran:
    """Runs test files of these names and texts."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, *script, *arguments],
        cwd=folder,
        env={**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # which takes a second and more of each session
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stderr == ""
    return Ran(done.returncode, done.stdout.splitlines()[-3:], done.stdout)


@pytest.mark.parametrize("how", [(), TOGETHER])
def test_what_passes_runs_once_and_ends_as_pytest_does(how: tuple[str, ...], tmp_path: Path) -> None:
    code, last, text = ran(tmp_path, *how, passes=PASSES, skips=SKIPS)
    assert code == 0
    assert "1 passed, 1 skipped in" in last[-1]
    assert "once more" not in text


@pytest.mark.parametrize("how", [(), TOGETHER])
def test_what_passes_alone_is_named_as_flaky(how: tuple[str, ...], tmp_path: Path) -> None:
    code, last, text = ran(tmp_path, *how, passes=PASSES, flaky=FLAKY, skips=SKIPS, file=FILE_SKIPS)
    assert code == 0
    assert last[-2:] == ["flaky: test_flaky.py::test_flaky[a b[c]::d/e]", "2 passed, 0 failed, 2 skipped"]
    assert "collected 1 item" in text.partition("once more, alone:")[2]


@pytest.mark.parametrize("how", [(), TOGETHER])
def test_what_fails_again_fails_the_run(how: tuple[str, ...], tmp_path: Path) -> None:
    code, last, _ = ran(tmp_path, *how, passes=PASSES, flaky=FLAKY, fails=FAILS)
    assert code == 1
    assert last == [
        "flaky: test_flaky.py::test_flaky[a b[c]::d/e]",
        "failed: test_fails.py::test_fails",
        "2 passed, 1 failed, 0 skipped",
    ]


def test_a_teardown_that_fails_is_a_failure(tmp_path: Path) -> None:
    code, last, _ = ran(tmp_path, passes=PASSES, torn=TORN)
    assert (code, last[-2:]) == (0, ["flaky: test_torn.py::test_torn", "2 passed, 0 failed, 0 skipped"])


def test_to_skip_the_second_time_is_not_to_pass(tmp_path: Path) -> None:
    code, last, _ = ran(tmp_path, passes=PASSES, later=SKIPS_LATER)
    assert (code, last[-2:]) == (1, ["failed: test_later.py::test_later", "1 passed, 1 failed, 0 skipped"])


def test_a_second_run_that_does_not_end_is_ended(tmp_path: Path) -> None:
    hasty = (
        f"import sys; sys.path[0] = {str(RERUN.parent)!r}; import rerun; rerun.SECONDS = 3; sys.exit(rerun.main([]))"
    )
    code, last, text = ran(tmp_path, script=("-c", hasty), passes=PASSES, hangs=HANGS_LATER)
    assert "not over after 3 s" in text
    assert (code, last[-2:]) == (1, ["failed: test_hangs.py::test_hangs", "1 passed, 1 failed, 0 skipped"])


def test_a_file_that_cannot_be_read_fails_at_once(tmp_path: Path) -> None:
    for how in ((), TOGETHER):
        code, last, text = ran(tmp_path, *how, passes=PASSES, unreadable=UNREADABLE)
        assert code != 0, how
        assert "no second run: could not collect test_unreadable.py" in text
        assert last[-2] == "failed: test_unreadable.py"
        assert last[-1].endswith(" passed, 1 failed, 0 skipped")


def test_a_worker_that_dies_in_a_test_has_it_run_once_more(tmp_path: Path) -> None:
    code, last, text = ran(tmp_path, *TOGETHER, passes=PASSES, dies=DIES_ONCE)
    assert "crashed while running 'test_dies.py::test_dies'" in text
    assert (code, last[-2:]) == (0, ["flaky: test_dies.py::test_dies", "3 passed, 0 failed, 0 skipped"])


def test_a_test_that_kills_its_process_twice_fails(tmp_path: Path) -> None:
    """It ends its process with 0, which nobody may read as a success."""
    code, last, text = ran(tmp_path, *TOGETHER, passes=PASSES, dies=DIES)
    assert "pytest ended with 0 and no record of the tests" in text
    # No run got as far as to the test after it.
    failed = ["failed: test_dies.py::test_dies", "failed: test_dies.py::test_after"]
    assert (code, last) == (1, [*failed, "1 passed, 2 failed, 0 skipped"])


def test_tests_that_no_worker_was_left_for_did_not_pass(tmp_path: Path) -> None:
    code, last, _ = ran(
        tmp_path, *TOGETHER, "--max-worker-restart=0", one=DIES, other=DIES.replace("test_", "test_other_")
    )
    assert code == 1
    assert last[-1].startswith("0 passed, ")


def test_a_session_that_dies_did_not_pass(tmp_path: Path) -> None:
    code, last, _ = ran(tmp_path, passes=PASSES, dies=DIES)
    assert (code, last[-1]) == (1, "pytest ended with 0 and no record of the tests")


def test_many_failures_are_no_flakes(tmp_path: Path) -> None:
    many = "import pytest\n\n@pytest.mark.parametrize('n', range(21))\ndef test_many(n):\n    assert False\n"
    code, last, text = ran(tmp_path, passes=PASSES, many=many)
    assert (code, last[-1]) == (1, "1 passed, 21 failed, 0 skipped")
    assert "no second run: 21 failed, which are more than 20" in text


def test_no_tests_at_all_are_no_success(tmp_path: Path) -> None:
    code, last, _ = ran(tmp_path)
    assert (code, last[-1]) == (5, "0 passed, 0 failed, 0 skipped")
