"""The static site: self-contained, escaped, bound by its own policy, the same bytes again, and written whole."""

from __future__ import annotations

import base64
import errno
import hashlib
import random
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pytest
from synthetic import by_id, cell, first, journal_entry, ok, plan, small_board, without_number

from adversarial.errors import StoreError
from leaderboard.pages.links import file_key
from leaderboard.pages.site import SiteSource, pages_of, write_site
from leaderboard.records import files
from leaderboard.records.record import Result


class Page(HTMLParser):
    """Elements with their attributes, and whether every element that was opened is closed in order."""

    VOID = frozenset({"meta", "link", "br", "input", "img"})

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


def source_of(results: list[Result], missing: tuple | list = ()) -> SiteSource:
    journal = {result.id: journal_entry(result) for result in results}
    return SiteSource(plan(results, missing), by_id(results), journal, levels={"undefended": "reference"})


def site_of(results: list[Result], missing: tuple | list = ()) -> dict[str, str]:
    """Every page of a site by its path; what is no page is left out."""
    found = dict(pages_of(source_of(results, missing)))
    return {name: text for name, text in found.items() if name.endswith(".html") and isinstance(text, str)}


@pytest.fixture(scope="module")
def site() -> dict[str, str]:
    return site_of(*small_board())


def test_every_kind_of_page_is_there(site: dict[str, str]) -> None:
    assert {PurePosixPath(name).parent.name or name for name in site} == {
        "index.html", "defenses.html", "scores.html", "tasks", "entries", "compare",
    }  # fmt: skip
    assert list(site)[-1] == "index.html"


def test_the_pages_are_well_formed_and_need_nothing_from_outside(site: dict[str, str]) -> None:
    for name, text in site.items():
        assert not re.search(r"https?:(?!//www\.w3\.org/2000/svg)", text), name
        parsed = Page(text)
        assert dict(parsed.elements[0][1])["lang"] == "en"
        assert [attributes["href"] for attributes in parsed.of("link")] == ["data:,"]
        for _, attributes in parsed.elements:
            assert (attributes.get("src") or "data:").startswith("data:")
        assert len(parsed.of("h1")) == 1
        assert len(parsed.of("title")) - len(parsed.of("svg")) <= 1


def test_every_link_leads_to_a_page_and_a_place_that_is_there(site: dict[str, str]) -> None:
    known = {name for name, _ in pages_of(source_of(*small_board()))}
    for name, text in site.items():
        parsed = Page(text)
        places = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
        assert len(places) == len(set(places)), name
        for attributes in parsed.of("a"):
            path, _, place = (attributes["href"] or "").partition("#")
            if path:
                parts: list[str] = []
                for part in [*PurePosixPath(name).parent.parts, *unquote(path).split("/")]:
                    parts = parts[:-1] if part == ".." else [*parts, part]
                assert "/".join(parts) in known, (name, path)
            else:
                assert place in places, (name, place)
        named = [found.get("aria-labelledby") or "" for _, found in parsed.elements]
        assert {part for one in named for part in one.split()} <= set(places), name


def test_the_policy_allows_exactly_the_inlined_style_and_scripts(site: dict[str, str]) -> None:
    for text in site.values():
        metas = Page(text).of("meta")
        policy = next(one["content"] for one in metas if one.get("http-equiv") == "Content-Security-Policy") or ""
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "connect-src" not in policy
        allowed = set(re.findall(r"'(sha256-[^']+)'", policy))
        inlined = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", text, flags=re.DOTALL)
        hashes = {base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in inlined}
        assert allowed == {f"sha256-{one}" for one in hashes}
        assert not any(name == "style" or name.startswith("on") for _, found in Page(text).elements for name in found)


@pytest.mark.parametrize(
    "name", ['<script>alert("x")</script>', "</script><img src=x>", "{{ 7 * 7 }}", "../../outside", "a&amp;b", "=1+1"]
)
def test_names_and_reasons_with_markup_are_escaped(name: str) -> None:
    results = [ok(cell(model=name, attack="none"), first(9)), ok(cell(model=name), first(3))]
    results += [without_number(cell(model=name, attack="jsma"), "failed", "<img src=x onerror=alert(1)>")]
    results += [ok(cell(model="other", attack="none"), first(9)), ok(cell(model="other"), first(3))]
    results += [without_number(cell(model="other", attack="jsma"), "n/a", "x")]
    pages = site_of(results)
    assert all(re.fullmatch(r"(entries/|compare/|tasks/)?[a-z0-9~._-]+\.html", path) for path in pages)
    for path, text in pages.items():
        pictures = [found["src"] or "" for found in Page(text).of("img")]
        assert all(source.startswith("data:image/svg+xml;base64,") for source in pictures), path
        assert text.count("<script") == len(Page(text).of("script"))
        if "<" in name:
            assert name not in text, path
        if name.startswith("{"):
            assert "49" not in text.partition("<h1")[2][:200]
    assert name in unescape(pages[f"entries/{file_key(name)}.html"])


def test_two_names_never_share_a_page() -> None:
    names = ["a", "A", "a ", "a/b", "a-b", "a b", "con", "con.x", "", ".", "..", "a~b", "é", "e\u0301", "x" * 200, "a."]
    keys = [file_key(name) for name in names]
    assert len({key.lower() for key in keys}) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9~._-]*", key) and len(key) <= 80 for key in keys)
    assert file_key("adversarial-training") == "adversarial-training"


def test_every_table_has_a_caption_and_scoped_headings(site: dict[str, str]) -> None:
    for name, text in site.items():
        parsed = Page(text)
        assert len(parsed.of("caption")) == len(parsed.of("table")), name
        assert {attributes["scope"] for attributes in parsed.of("th")} <= {"col", "row", "colgroup"}
        for attributes in parsed.of("svg"):
            assert attributes.get("aria-hidden") == "true" or attributes.get("role") == "img"
        assert all(attributes.get("alt") for attributes in parsed.of("img"))


def test_every_row_has_a_cell_for_every_column(site: dict[str, str]) -> None:
    for text in site.values():
        for table in re.findall(r"<table.*?</table>", text, flags=re.DOTALL):
            columns = len(re.findall("data-(?:column|key)=", table))
            body = re.search(r"<tbody>(.*?)</tbody>", table, flags=re.DOTALL)
            assert body is not None
            for row in re.findall(r"<tr>(.*?)</tr>", body.group(1), flags=re.DOTALL):
                cells = len(re.findall(r"<t[dh][ >]", row)) + sum(
                    int(n) - 1 for n in re.findall(r'colspan="(\d+)"', row)
                )
                assert cells == columns or not columns


def test_the_pages_say_what_is_missing_and_why(site: dict[str, str]) -> None:
    for name, text in (
        ("tasks/image-digits.html", "no fit split in this task"),
        ("tasks/image-digits.html", "gradient-weaker-than-noise"),
        ("tasks/image-digits.html", "unrealisable"),
        ("tasks/control-cartpole.html", "RuntimeError: gradient is not finite"),
        ("tasks/control-cartpole.html", "≤0.8"),
        ("tasks/speech-digits.html", "substitutions 0.600"),
        ("defenses.html", "helps everywhere"),
        ("entries/masked-gradient.html", "RuntimeError: gradient is not finite"),
        ("entries/undefended.html", "reference"),
        ("compare/adversarial-training--undefended.html", "better"),
        ("scores.html", "embeddings-l2:0.5"),
    ):
        assert text in site[name], (name, text)


def test_an_empty_board_is_still_a_site() -> None:
    pages = site_of([])
    assert set(pages) == {"index.html", "defenses.html", "scores.html"}
    assert "Nothing measured yet" in pages["index.html"]
    assert "Nothing to compare" in pages["defenses.html"]


def test_the_order_of_the_records_never_matters() -> None:
    results, missing = small_board()
    expected = dict(pages_of(source_of(results, missing)))
    for seed in range(3):
        draw = random.Random(seed)
        shuffled = draw.sample(results, len(results))
        source = source_of(shuffled, draw.sample(missing, len(missing)))
        assert dict(pages_of(source)) == expected


def test_every_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(*small_board())
    path = write_site(source, tmp_path / "site")
    assert path.name == "index.html"
    before = {one: one.read_bytes() for one in path.parent.rglob("*") if one.is_file()}

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(StoreError, match="Free some space"):
        write_site(source, tmp_path / "site")
    assert {one: one.read_bytes() for one in path.parent.rglob("*") if one.is_file()} == before
