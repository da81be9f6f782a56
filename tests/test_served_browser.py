"""A served board in a browser, from a submission that waits to how scores are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from browsing import CONTRAST, chromium, expect, listed, named, page_of, settled, shows
from serving import SECONDS, STUB, Place, place, post, reaches, serving, until, working
from stores import SUITE, make_bundle
from synthetic import CONTROL, IMAGE


BOARD = f"/boards/{SUITE}"
BRIEF = "    time.sleep(1.5)\n"
HELD = """
    deadline = time.monotonic() + 600
    while not os.path.exists({released!r}) and time.monotonic() < deadline:
        time.sleep(0.05)
"""
Opened = Callable[..., AbstractContextManager[Any]]


class Served(NamedTuple):
    where: Place
    client: httpx.Client
    submission: str  # of an entry that is accepted
    released: (
        Path  # a brief verification lasts until this file is there, so that a page that looks again cannot miss it
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Three entries: one re-scored, two re-run of which one is on two tasks; and no worker any more."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "store").mkdir()
    where = place(folder, f"sqlite:///{folder}/store/board.sqlite3")
    released = folder / "released"
    assert BRIEF in STUB
    where.stub.write_text(STUB.replace(BRIEF, HELD.format(released=str(released))))
    with serving(where, "--requests", "0", "--submissions", "0") as (client, _):
        with working(where, "--rerun", "0", lease=SECONDS):
            sent(client, where, "looked-at", right=20)
        with working(where, lease=SECONDS):
            submission = sent(client, where, "undefended", right=8)
            sent(client, where, "hardened", right=30)
            sent(client, where, "hardened", right=30, task=CONTROL)
        yield Served(where, client, submission, released)


@pytest.fixture(scope="module")
def opened(served: Served) -> Iterator[Opened]:
    with chromium() as browser:
        yield partial(_opened, browser, str(served.client.base_url).rstrip("/"))


@contextmanager
def _opened(browser: Any, server: str, path: str, **options: Any) -> Iterator[Any]:
    """A page of the server; fails where its console complains or anything but the server is asked for anything."""
    options = {"viewport": {"width": 1200, "height": 900}, "base_url": server, **options}
    with page_of(browser, **options) as (page, complaints):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        visit(page, path)
        yield page
        assert complaints == []
        assert all(url.startswith((f"{server}/", "data:", "about:")) for url in asked), asked


def visit(page: Any, path: str) -> None:
    page.goto(path)
    settled(page)


def sent(client: httpx.Client, where: Place, name: str, *, wait: bool = True, **changes: Any) -> str:
    bundle = make_bundle(where.folder / "one.rab", name, passes=5, **changes)
    assert post(client, where, (where.folder / "one.rab").read_bytes()).status_code == 201
    if wait:
        reaches(client, bundle, "accepted")
        task = {"task": changes.get("task", IMAGE)}
        until(lambda: bundle in client.get(f"/v1{BOARD}", params=task).text, "it is on the board")
    return bundle


@pytest.mark.slow
def test_a_submission_is_watched_until_it_is_on_the_board(served: Served, opened: Opened, tmp_path: Path) -> None:
    where, client, _, released = served
    bundle = sent(client, where, "brief-net", wait=False, right=25)
    with opened(f"/submissions/{bundle}") as page, ExitStack() as stack:
        status, main = page.get_by_role("status"), page.locator("main")
        expect(status).to_have_text("queued")
        stack.enter_context(working(where, lease=SECONDS))
        # Nobody reloads the page: it does so itself.
        expect(status).to_contain_text("verifying")
        expect(main).to_contain_text("1 of 2")
        released.touch()
        expect(status).to_contain_text("accepted re-run")
        expect(page.locator('meta[http-equiv="refresh"]')).to_have_count(0)
        expect(main).to_contain_text("accepted, re-run")
        page.screenshot(path=str(tmp_path / "accepted.png"), full_page=True)
        until(lambda: bundle in client.get(f"/v1{BOARD}", params={"task": IMAGE}).text, "it is on the board")
        page.get_by_role("link", name=SUITE).click()
        expect(listed(page).filter(has_text="brief-net")).to_have_count(1)
        settled(page)
        page.go_back()
        page.get_by_role("link", name="brief-net").click()
        expect(page.locator("h1")).to_have_text("brief-net")


def test_the_board_sorts_filters_and_searches(opened: Opened) -> None:
    with opened(BOARD) as page:
        column = page.get_by_role("button", name=IMAGE)
        column.click()
        expect(page.locator('th[aria-sort="descending"]')).to_have_text(re.compile(f"^{IMAGE}"), use_inner_text=True)
        expect(listed(page).first).to_have_text(named("hardened"), use_inner_text=True)
        column.click()
        expect(listed(page).first).to_have_text(named("undefended"), use_inner_text=True)
        page.get_by_label("Verification").select_option("re-scored")
        shows(page, "looked-at")
        expect(page).to_have_url(re.compile("=re-scored"))
        address = page.url
        page.goto("about:blank")
        visit(page, address)
        shows(page, "looked-at")
        page.get_by_role("button", name="Clear").click()
        expect(page).not_to_have_url(re.compile("#"))
        page.get_by_role("searchbox").fill("HARD")
        shows(page, "hardened")
        page.get_by_role("searchbox").fill("")
        with page.expect_download() as waiting:
            page.get_by_role("link", name="CSV").click()
        assert waiting.value.suggested_filename == f"{SUITE}.csv"
        assert Path(waiting.value.path()).read_text(encoding="utf-8").startswith("suite,row,entry,task,")


def test_from_the_board_to_how_scores_are_made(opened: Opened, tmp_path: Path) -> None:
    with opened(BOARD, permissions=["clipboard-read", "clipboard-write"]) as page:
        title = page.locator("h1")
        page.get_by_role("link", name=IMAGE).first.click()
        expect(title).to_have_text(IMAGE)
        settled(page)
        page.get_by_role("link", name="hardened").first.click()
        expect(title).to_have_text("hardened")
        expect(page.locator("figure.chart").first).to_be_visible()
        page.get_by_text("Query curves as tables").first.click()
        expect(page.get_by_role("columnheader", name="worst case so far").first).to_be_visible()
        badge = page.locator("img.badge")
        expect(badge).to_have_js_property("complete", True)
        assert badge.evaluate("one => one.naturalWidth") > 100
        page.get_by_role("button", name="Copy the results").click()
        expect(page.get_by_text("Copied.")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()").startswith("---\nmodel-index:")
        page.screenshot(path=str(tmp_path / "entry.png"), full_page=True)
        page.get_by_role("region", name="Compare with").get_by_role("link", name="undefended").click()
        expect(title).to_have_text("hardened and undefended")
        expect(page.get_by_role("row", name=re.compile(IMAGE)).first).to_contain_text("better")
        page.go_back()
        expect(title).to_have_text("hardened")
        page.go_back()
        expect(title).to_have_text(IMAGE)
        settled(page)
        page.get_by_label("compare hardened").check()
        page.get_by_label("compare undefended").check()
        page.get_by_role("link", name="Paired differences").click()
        expect(title).to_have_text("hardened and undefended")
        page.get_by_role("link", name="Defenses by domain").click()
        expect(page.get_by_role("row", name=re.compile("hardened")).first).to_contain_text("helps")
        page.get_by_role("navigation", name="Difference to another entry").get_by_role("link", name="hardened").click()
        expect(page.get_by_role("row", name=re.compile("undefended")).first).to_contain_text("hurts")
        page.get_by_role("link", name="How scores are made").click()
        expect(title).to_have_text("How scores are made")
        page.get_by_role("link", name="RobustArena").click()
        expect(title).to_have_text("Robustness across domains")


def test_the_keyboard_alone_gets_to_an_entry(opened: Opened) -> None:
    focused = "document.activeElement.innerText || document.activeElement.id || document.activeElement.className"
    with opened(BOARD) as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        seen: list[str] = []
        while not seen or seen[-1] != "hardened":
            page.keyboard.press("Tab")
            seen.append(page.evaluate(focused))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", seen
            assert len(seen) < 60
        assert {"search", "ranked", "Clear", "rank", "mean robust"} <= set(seen)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("hardened")
        reached = page.evaluate(
            "[...document.querySelectorAll('a[href], button, summary, pre, [role=region]')]"
            ".filter((one) => one.checkVisibility() && one.tabIndex < 0).map((one) => one.outerHTML)"
        )
        assert reached == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_never_scrolls_sideways_and_every_text_can_be_read(
    scheme: str, served: Served, opened: Opened, tmp_path: Path
) -> None:
    paths = [
        f"{BOARD}{path}"
        for path in ("", f"/tasks/{IMAGE}", "/entries/hardened", "/compare/hardened/undefended", "/defenses", "/scores")
    ]
    with opened(BOARD, viewport={"width": 360, "height": 740}, color_scheme=scheme) as page:
        for path in (*paths, f"/submissions/{served.submission}"):
            visit(page, path)
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
            poor = page.evaluate(CONTRAST)
            assert poor == [], (path, poor[:3])
            page.screenshot(path=str(tmp_path / f"{path.strip('/').replace('/', '-')}-{scheme}.png"), full_page=True)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(20, 23, 27)") == (scheme == "dark")
