"""No test waits for a page in a way that the page's own policy forbids."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import chromium, page_of

from leaderboard.records.files import write_whole
from leaderboard.server.pages import notice


TESTS = Path(__file__).parent


def calls(text: str, name: str) -> Iterator[int]:
    """The lines of a module that call a method of this name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
            yield node.lineno


def test_calls_are_found_wherever_they_stand() -> None:
    text = "def f(page):\n    # page.wait_for_function('')\n    with a():\n        b(page.one.wait_for_function('1'))\n"
    assert list(calls(text, "wait_for_function")) == [4]


@pytest.mark.parametrize("name", ["wait_for_function", "wait_for_timeout"])
def test_no_test_evaluates_a_string_again_and_again_or_sleeps_in_a_page(name: str) -> None:
    """A page's policy has no `unsafe-eval`: the string fails at its second look, that is where one has to wait."""
    found = [
        f"{path.relative_to(TESTS)}:{line}"
        for path in sorted(TESTS.rglob("*.py"))
        if path != Path(__file__)
        for line in calls(path.read_text(encoding="utf-8"), name)
    ]
    assert found == [], f"expected expect(...) of browsing.py, got {name}: say what the page must come to show"


def test_the_policy_of_a_page_forbids_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "page.html", notice("404", detail="nothing here").encode())
    with chromium() as browser, page_of(browser) as (page, _):
        page.goto((tmp_path / "page.html").as_uri())
        assert page.evaluate("document.title") != ""
        with pytest.raises(Exception, match="unsafe-eval"):
            page.wait_for_function("document.title === ''")
