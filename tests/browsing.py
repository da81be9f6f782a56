"""Debian's Chromium, headless, with nothing of its own going out.

A page's own policy forbids to evaluate strings in it, so what a test waits for is said with `expect` and locators.
`page.evaluate` looks once and gets by; `page.wait_for_function` fails at its second look.
"""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 120_000.0  # of every wait for a page: long, for other tests may keep all cores busy

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


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; skips the test where Chromium or Playwright is not installed."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium (Debian: apt-get install chromium)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=path, headless=True, args=list(FLAGS), timeout=PATIENCE_MS
            )
            sync_api.expect.set_options(timeout=PATIENCE_MS)
            try:
                yield browser
            finally:
                browser.close()


@contextmanager
def page_of(browser: Any, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page, and what it complains of: errors in its console, and requests to another host."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if _foreign(request.url) else None)
    try:
        yield page, complaints
    finally:
        context.close()


def expect(subject: Any) -> Any:
    """What must come to hold of a page or a locator; asked again until it does, or the patience is over."""
    from playwright import sync_api

    return sync_api.expect(subject)


def settled(page: Any) -> None:
    """Waits until the script of a board is done with it; it may fetch the rows after the page has loaded."""
    expect(page.locator("#listing th[data-key]:not(:has(button))")).to_have_count(0)


def listed(page: Any) -> Any:
    """The headings of a board's rows, in their order."""
    return page.locator("#listing tbody th")


def shows(page: Any, *names: str) -> None:
    """Waits until a board has these rows and no other."""
    expect(listed(page)).to_have_text([named(name) for name in names], use_inner_text=True)


def named(name: str) -> re.Pattern[str]:
    """The text of a row's heading: an entry's name, and below it what more is said of it."""
    return re.compile(rf"^{re.escape(name)}(\n|$)")


def _foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "file:", "data:", "blob:", "about:"))
