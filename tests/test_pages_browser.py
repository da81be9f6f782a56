"""The static site in a browser, from a disk: it works, asks nobody for anything, and fits a phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from browsing import chromium, page_of
from illustrated import illustrated
from test_pages import TASKS, line

from leaderboard.files import write_whole
from leaderboard.pages.board import render_across
from leaderboard.pages.links import STATIC
from leaderboard.site import write_site


Opened = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site")
    write_site(illustrated(), path)
    big = render_across("big@1", TASKS, [line(number) for number in range(10_000)], STATIC)
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


def entries(page: Any) -> list[str]:
    return [text.partition("\n")[0] for text in page.locator("#listing tbody th").all_inner_texts()]


def test_the_board_sorts_and_says_so(opened: Opened) -> None:
    with opened("index.html") as page:
        before = page.locator("#listing tbody").inner_text()
        assert entries(page) == ["adversarial-training", "undefended", "masked-gradient"]
        heading = page.locator('#listing th[data-key="clean"]')
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        # What has no number stays below, whichever way.
        assert entries(page) == ["undefended", "adversarial-training", "masked-gradient"]
        heading.get_by_role("button").click()
        assert heading.get_attribute("aria-sort") == "ascending"
        assert entries(page) == ["adversarial-training", "undefended", "masked-gradient"]
        assert "sort=clean" in page.url
        page.get_by_role("button", name="rank").click()
        page.get_by_role("button", name="rank").click()
        assert entries(page)[-1] == "masked-gradient"
        page.get_by_role("button", name="Clear").click()
        page.wait_for_function("!location.hash")
        assert page.locator("#listing tbody").inner_text() == before


def test_the_script_builds_the_rows_that_the_page_came_with(opened: Opened, folder: Path) -> None:
    with opened("index.html", java_script_enabled=False) as page:
        plain = page.locator("#listing tbody").inner_text().replace("\t", " ").split()
        assert page.locator("#controls").is_hidden()
        assert page.get_by_role("button").count() == 0
    with opened("index.html") as page:
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
        assert page.locator("#count").inner_text() == "1 to 100 of 10000 entries"
        page.get_by_role("button", name="Next").click()
        assert entries(page)[0] == "entry <100>"
        assert page.url.endswith("#page=2")
        page.get_by_role("searchbox").fill("<77 account")
        assert page.locator("#count").inner_text() == "1 to 100 of 111 entries"
        page.get_by_label("Verification").select_option("claimed")
        page.get_by_label("ranked only").check()
        found = page.locator("#count").inner_text()
        assert found == "28 of 10000 entries"
        address = page.url
        page.goto("about:blank")
        page.goto(address)
        assert page.locator("#count").inner_text() == found
        assert page.get_by_role("searchbox").input_value() == "<77 account"
        page.get_by_role("searchbox").fill("nobody")
        assert page.locator("#count").inner_text() == "0 of 10000 entries"
        page.get_by_role("button", name="Clear").click()
        page.wait_for_function("document.getElementById('count').textContent.startsWith('1 to 100 of 10000')")


def test_two_entries_are_compared_and_the_address_remembers(opened: Opened, tmp_path: Path) -> None:
    with opened("index.html") as page:
        page.get_by_label("compare undefended").check()
        assert page.locator("#comparison").is_hidden()
        page.get_by_label("compare adversarial-training").check()
        section = page.locator("#comparison")
        assert section.is_visible()
        assert "undefended and adversarial-training" in section.inner_text()
        page.reload()
        assert section.is_visible()
        page.get_by_label("compare masked-gradient").check()  # a third takes the place of the first
        assert not page.get_by_label("compare undefended").is_checked()
        page.get_by_label("compare masked-gradient").uncheck()
        page.get_by_label("compare undefended").check()
        page.screenshot(path=str(tmp_path / "compared.png"), full_page=True)
        page.get_by_role("link", name="Paired differences").click()
        assert page.locator("h1").inner_text() == "adversarial-training and undefended"
        assert page.url.endswith("compare/adversarial-training--undefended.html")
        page.screenshot(path=str(tmp_path / "compare.png"), full_page=True)


def test_an_entry_can_be_seen_and_heard(opened: Opened, tmp_path: Path) -> None:
    with opened("index.html") as page:
        page.get_by_role("link", name="undefended").first.click()
        assert page.locator("h1").inner_text() == "undefended"
        page.locator("details.attack").evaluate_all("all => all.forEach(one => { one.open = true; })")
        sizes = page.locator("img").evaluate_all("all => all.map(one => one.complete && one.naturalWidth)")
        assert len(sizes) > 20
        assert all(sizes)
        audio = page.locator("audio").first
        audio.evaluate("one => new Promise(done => { one.readyState ? done() : one.onloadedmetadata = done; })")
        assert audio.evaluate("one => one.duration") == pytest.approx(0.15, abs=0.15)
        assert page.locator("del").count() == page.locator("ins").count() > 0
        assert page.locator("svg.episode").count() > 0
        page.screenshot(path=str(tmp_path / "entry.png"), full_page=True)
        for link in page.locator("nav a").all():
            assert link.get_attribute("href")
        page.get_by_role("link", name="How scores are made").click()
        assert page.locator("h1").inner_text() == "How scores are made"
        page.get_by_role("link", name="Defenses by domain").click()
        assert "helps" in page.locator("main").inner_text()
        page.get_by_role("link", name="text-reviews").click()
        assert page.locator("figure.chart").count() == 1


def test_everything_is_reached_by_the_keyboard(opened: Opened) -> None:
    focused = "document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || \
        document.activeElement.id || document.activeElement.className"
    with opened("index.html") as page:
        page.keyboard.press("Tab")
        assert page.evaluate(focused) == "Skip to the content"
        assert page.locator(".skip").bounding_box()["y"] >= 0
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        seen = []
        for _ in range(40):
            page.keyboard.press("Tab")
            seen.append(page.evaluate(focused))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            if seen[-1] == "compare undefended":
                page.keyboard.press("Space")
                break
        assert {"search", "ranked", "Clear", "rank", "mean robust", "compare adversarial-training"} <= set(seen)
        assert page.get_by_label("compare undefended").is_checked()
        page.locator('th[data-key="entry"] button').focus()
        page.keyboard.press("Enter")
        assert page.locator('th[data-key="entry"]').get_attribute("aria-sort") == "ascending"


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


# Texts whose contrast to what lies behind them is below WCAG's 4.5.
CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const found = parse(getComputedStyle(one).backgroundColor);
      if (found.length === 3 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest("script,style,noscript,svg,[hidden]") || element.disabled) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) poor.push([element.tagName, element.textContent.trim().slice(0, 30), contrast]);
  }
  return poor;
}"""
