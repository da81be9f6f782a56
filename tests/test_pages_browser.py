"""The static site in a browser, from a disk: it works, asks nobody for anything, and fits a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from browsing import CONTRAST, chromium, expect, listed, named, page_of, settled, shows
from illustrated import illustrated
from test_pages import standings

from leaderboard.pages.board import render_across
from leaderboard.pages.links import STATIC
from leaderboard.pages.site import write_site
from leaderboard.records.files import write_whole


Opened = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site")
    write_site(illustrated(), path)
    big = render_across("big@1", *standings(*range(10_000)), STATIC)
    write_whole(path / "big.html", big.encode())
    return path


@pytest.fixture(scope="module")
def opened(folder: Path) -> Iterator[Opened]:
    with chromium() as browser:
        yield partial(_opened, browser, folder)


@contextmanager
def _opened(browser: Any, folder: Path, name: str, **options: Any) -> Iterator[Any]:
    """A page of the site; fails where its console complains or anything but a file is asked for."""
    with page_of(browser, **{"viewport": {"width": 1200, "height": 900}, **options}) as (page, complaints):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / name).as_uri())
        yield page
        assert complaints == []
        assert all(url.startswith(("file:", "data:", "about:")) for url in asked), asked


def test_the_board_sorts_and_says_so(opened: Opened) -> None:
    with opened("index.html") as page:
        before = page.locator("#listing tbody").inner_text()
        shows(page, "adversarial-training", "undefended", "masked-gradient")
        heading = page.locator('#listing th[data-key="clean"]')
        heading.get_by_role("button").click()
        expect(heading).to_have_attribute("aria-sort", "descending")
        # What has no number stays below, whichever way.
        shows(page, "undefended", "adversarial-training", "masked-gradient")
        heading.get_by_role("button").click()
        expect(heading).to_have_attribute("aria-sort", "ascending")
        shows(page, "adversarial-training", "undefended", "masked-gradient")
        expect(page).to_have_url(re.compile("sort=clean"))
        page.get_by_role("button", name="rank").click()
        page.get_by_role("button", name="rank").click()
        expect(page).to_have_url(re.compile("sort=-rank"))
        expect(listed(page).last).to_have_text(named("masked-gradient"), use_inner_text=True)
        page.get_by_role("button", name="Clear").click()
        expect(page).not_to_have_url(re.compile("#"))
        expect(page.locator("#listing tbody")).to_have_text(before, use_inner_text=True)


def test_the_script_builds_the_rows_that_the_page_came_with(opened: Opened, folder: Path) -> None:
    with opened("index.html", java_script_enabled=False) as page:
        plain = page.locator("#listing tbody").inner_text().replace("\t", " ").split()
        expect(page.locator("#controls")).to_be_hidden()
        expect(page.get_by_role("button")).to_have_count(0)
    with opened("index.html") as page:
        settled(page)
        assert page.locator("#listing tbody").inner_text().replace("\t", " ").split() == plain
        bars = page.locator("#listing tbody svg").evaluate_all("all => all.map(one => one.outerHTML)")
    text = (folder / "index.html").read_text(encoding="utf-8").partition("</table>")[0]
    found = [f"<svg{part.partition('</svg>')[0]}</svg>" for part in text.split("<svg")[1:]]
    assert len(bars) == len(found)
    for one, other in zip(bars, found, strict=True):
        assert _numbers(one) == pytest.approx(_numbers(other), abs=0.11)  # a tenth of a hundredth, rounded either way


def _numbers(bar: str) -> list[float]:
    return [float(one) for one in re.findall(r'(?:x|y|width|height)="([\d.]+)"', bar)]


def test_search_filters_and_pages_of_ten_thousand(opened: Opened) -> None:
    with opened("big.html") as page:
        count = page.locator("#count")
        expect(count).to_have_text("1 to 100 of 10000 entries")
        page.get_by_role("button", name="Next").click()
        expect(listed(page).first).to_have_text(named("entry <100>"), use_inner_text=True)
        expect(page).to_have_url(re.compile("#page=2$"))
        page.get_by_role("searchbox").fill("<77 account")
        expect(count).to_have_text("1 to 100 of 111 entries")
        page.get_by_label("Verification").select_option("claimed")
        page.get_by_label("ranked only").check()
        expect(count).to_have_text("28 of 10000 entries")
        expect(page).to_have_url(re.compile("ranked=yes"))
        address = page.url
        page.goto("about:blank")
        page.goto(address)
        expect(count).to_have_text("28 of 10000 entries")
        expect(page.get_by_role("searchbox")).to_have_value("<77 account")
        page.get_by_role("searchbox").fill("nobody")
        expect(count).to_have_text("0 of 10000 entries")
        page.get_by_role("button", name="Clear").click()
        expect(count).to_have_text("1 to 100 of 10000 entries")


def test_two_entries_are_compared_and_the_address_remembers(opened: Opened, tmp_path: Path) -> None:
    with opened("index.html") as page:
        page.get_by_label("compare undefended").check()
        expect(page).to_have_url(re.compile("#compare="))
        expect(page.locator("#comparison")).to_be_hidden()
        page.get_by_label("compare adversarial-training").check()
        section = page.locator("#comparison")
        expect(section).to_be_visible()
        expect(section).to_contain_text("undefended and adversarial-training")
        expect(page).to_have_url(re.compile("#compare=.*&compare="))
        page.reload()
        expect(section).to_be_visible()
        page.get_by_label("compare masked-gradient").check()  # a third takes the place of the first
        expect(page.get_by_label("compare undefended")).not_to_be_checked()
        page.get_by_label("compare masked-gradient").uncheck()
        page.get_by_label("compare undefended").check()
        page.screenshot(path=str(tmp_path / "compared.png"), full_page=True)
        page.get_by_role("link", name="Paired differences").click()
        expect(page.locator("h1")).to_have_text("adversarial-training and undefended")
        expect(page).to_have_url(re.compile("compare/adversarial-training--undefended.html$"))
        page.screenshot(path=str(tmp_path / "compare.png"), full_page=True)


def test_an_entry_can_be_seen_and_heard(opened: Opened, tmp_path: Path) -> None:
    with opened("index.html") as page:
        page.get_by_role("link", name="undefended").first.click()
        expect(page.locator("h1")).to_have_text("undefended")
        page.locator("details.attack").evaluate_all("all => all.forEach(one => { one.open = true; })")
        pictures = page.locator("img").all()
        assert len(pictures) > 20
        for picture in pictures:
            expect(picture).to_have_js_property("complete", True)
            expect(picture).not_to_have_js_property("naturalWidth", 0)
        audio = page.locator("audio").first
        expect(audio).not_to_have_js_property("readyState", 0)  # its length is known from 1 on
        assert audio.evaluate("one => one.duration") == pytest.approx(0.15, abs=0.15)
        assert page.locator("del").count() == page.locator("ins").count() > 0
        assert page.locator("svg.episode").count() > 0
        page.screenshot(path=str(tmp_path / "entry.png"), full_page=True)
        for link in page.locator("nav a").all():
            assert link.get_attribute("href")
        page.get_by_role("link", name="How scores are made").click()
        expect(page.locator("h1")).to_have_text("How scores are made")
        page.get_by_role("link", name="Defenses by domain").click()
        expect(page.locator("main")).to_contain_text("helps")
        page.get_by_role("link", name="text-reviews").click()
        expect(page.locator("figure.chart")).to_have_count(1)


def test_everything_is_reached_by_the_keyboard(opened: Opened) -> None:
    focused = "document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || \
        document.activeElement.id || document.activeElement.className"
    with opened("index.html") as page:
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        seen = []
        for _ in range(40):
            page.keyboard.press("Tab")
            seen.append(page.evaluate(focused))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            if seen[-1] == "compare undefended":
                page.keyboard.press("Space")
                break
        assert {"search", "ranked", "Clear", "rank", "mean robust", "compare adversarial-training"} <= set(seen)
        expect(page.get_by_label("compare undefended")).to_be_checked()
        page.locator('th[data-key="entry"] button').focus()
        page.keyboard.press("Enter")
        expect(page.locator('th[data-key="entry"]')).to_have_attribute("aria-sort", "ascending")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_never_scrolls_sideways_and_every_text_can_be_read(
    scheme: str, opened: Opened, folder: Path, tmp_path: Path
) -> None:
    with opened("index.html", viewport={"width": 360, "height": 740}, color_scheme=scheme) as page:
        for path in sorted(folder.rglob("*.html")):
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path.name
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path.name
            if path.name != "big.html":
                poor = page.evaluate(CONTRAST)
                assert poor == [], (path.name, poor[:3])
                page.screenshot(path=str(tmp_path / f"{path.stem}-{scheme}.png"), full_page=True)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(20, 23, 27)") == (scheme == "dark")
