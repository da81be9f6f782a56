"""Debian's Chromium, headless, with nothing of its own going out."""

from __future__ import annotations

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
            browser = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
            try:
                yield browser
            finally:
                browser.close()


@contextmanager
def page_of(browser: Any, **options: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page, and what it complains of: errors in its console, and requests to another host."""
    context = browser.new_context(**options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if _foreign(request.url) else None)
    try:
        yield page, complaints
    finally:
        context.close()


def _foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1", "file:", "data:", "blob:", "about:"))
