"""A real browser: the system's Chromium without a window, driven by Playwright.

A browser belongs to a module of tests: while one is open, no event loop can run in its
thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PHONE_PX, PHONE_HEIGHT_PX, HEIGHT_PX = 500, 844, 800
LIMIT_MS = 60_000
_FLAGS = ("--disable-gpu", "--disable-quic")
_COMPLAINTS = ("error", "warning")
Theme = Literal["light", "dark"]
expect.set_options(timeout=LIMIT_MS)


def program() -> str:
    """Return the path of Chromium; skip the test, or fail in CI, without one."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return found
    missing = "needs a browser, such as the package chromium of Debian"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Start a browser, and close it afterwards."""
    path = program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*_FLAGS])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def tab(
    browser: Browser, *, width: int = 1280, theme: Theme = "light", **more: Any
) -> Iterator[Page]:
    """Open a tab with a profile of its own, for a person who wants little motion.

    Args:
        browser: The browser.
        width: Of the window in pixels; a narrow one is a phone's.
        theme: The one that the person prefers.
        more: Further options of Playwright's ``Browser.new_context``.
    """
    height = PHONE_HEIGHT_PX if width < PHONE_PX else HEIGHT_PX
    # A page on which something moves is drawn sixty times a second.
    options = {"reduced_motion": "reduce", **more}
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=theme, **options
    )
    context.set_default_timeout(LIMIT_MS)
    try:
        yield context.new_page()
    finally:
        context.close()


def complaints_of(page: Page) -> list[str]:
    """Return a list that the browser's complaints about a tab go to, from now on.

    They are breaches of the content policy, errors of scripts and failed requests.
    """
    found: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in _COMPLAINTS:
            found.append(message.text)

    page.on("console", hear)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def elements_of(page: Page) -> set[str]:
    """Return the names of the elements of a page, without our own template."""
    names = "[...document.querySelectorAll(':not(#parts)')].map(e => e.localName)"
    return set(page.evaluate(names))


def settled(page: Page, url: str) -> Page:
    """Open an address and wait until nothing has been asked for half a second."""
    page.goto(url, wait_until="networkidle")
    return page
