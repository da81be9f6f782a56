"""The page: self-contained, escaped, bound by its own policy, and written whole."""

from __future__ import annotations

import base64
import errno
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic import by_id, cell, first, journal_entry, ok, plan, small_board, without_number

from leaderboard import files
from leaderboard.board import build_board
from leaderboard.compare import compare
from leaderboard.results import Result
from leaderboard.site import render_page, write_site
from leaderboard.store import StoreError


class Page(HTMLParser):
    """Elements with their attributes, and whether every element that was opened is closed in order."""

    VOID = frozenset({"meta", "link", "br", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(results: list[Result], missing: tuple = ()) -> str:
    written = plan(results, missing)
    journal = {result.id: journal_entry(result) for result in results}
    return render_page(build_board(written, by_id(results), journal), compare(written, by_id(results), journal))


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(*small_board())


def test_the_page_is_well_formed_and_needs_nothing_from_outside(page: str) -> None:
    assert not re.search(r"https?:", page)
    assert "//" not in re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    parsed = Page(page)
    assert parsed.of("img") == parsed.of("iframe") == []
    assert [attributes["href"] for attributes in parsed.of("link")] == ["data:,"]
    assert all("src" not in attributes for _, attributes in parsed.elements)
    assert all((attributes["href"] or "").startswith("#") for attributes in parsed.of("a"))


def test_the_policy_allows_exactly_the_inlined_style_and_script(page: str) -> None:
    policy = next(
        attributes["content"]
        for attributes in Page(page).of("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert not any(name == "style" or name.startswith("on") for _, found in Page(page).elements for name in found)


def test_names_and_reasons_with_markup_are_escaped() -> None:
    name = '<script>alert("x")</script>'
    results = [ok(cell(model=name, attack="none"), first(9)), ok(cell(model=name), first(3))]
    results += [without_number(cell(model=name, attack="jsma"), "failed", "<img src=x onerror=alert(1)>")]
    text = page_of(results)
    assert name not in text
    assert "&lt;script&gt;alert" in text
    assert "<img" not in text
    assert len(Page(text).of("script")) == 1


def test_every_table_has_a_caption_and_scoped_headings(page: str) -> None:
    parsed = Page(page)
    assert len(parsed.of("caption")) == len(parsed.of("table"))
    assert {attributes["scope"] for attributes in parsed.of("th")} == {"col", "row", "colgroup"}
    targets = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(targets) == len(set(targets))
    assert {(attributes["href"] or "").removeprefix("#") for attributes in parsed.of("a")} <= set(targets)


def test_every_row_has_a_cell_for_every_column(page: str) -> None:
    for table in re.findall(r"<table.*?</table>", page, flags=re.DOTALL):
        columns = len(re.findall("data-column=", table))
        body = re.search(r"<tbody>(.*?)</tbody>", table, flags=re.DOTALL)
        assert body is not None
        for row in re.findall(r"<tr>(.*?)</tr>", body.group(1), flags=re.DOTALL):
            assert len(re.findall(r"<t[dh][ >]", row)) == columns


def test_the_page_says_what_is_missing_and_why(page: str) -> None:
    for text in (
        "no fit split in this task",
        "RuntimeError: gradient is not finite",
        "gradient-weaker-than-noise",
        "≤0.80",
        "helps everywhere",
        "unrealisable",
        "substitutions 0.600",
    ):
        assert text in page


def test_an_empty_board_is_still_a_page() -> None:
    assert "Nothing to compare" in page_of([])


def test_the_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, missing = small_board()
    written = plan(results, missing)
    board, comparison = build_board(written, by_id(results), {}), compare(written, by_id(results), {})
    path = write_site(board, comparison, tmp_path / "site")
    before = path.read_bytes()

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match="Free some space"):
        write_site(board, comparison, tmp_path / "site")
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == ["index.html"]
