"""A real browser: the system's Chromium without a window, driven by Playwright.

A browser belongs to a module of tests: while one is open, no event loop can run in its
thread.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, Literal
from weakref import WeakKeyDictionary

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PHONE_PX, PHONE_HEIGHT_PX = 500, 844
WIDTH_PX, HEIGHT_PX = 1280, 800
LIMIT_MS = 60_000
# A name that is not this machine's to a browser: over HTTP it trusts it less.
OTHER_HOST = "jobs.example"
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    f"--host-resolver-rules=MAP {OTHER_HOST} 127.0.0.1",
)
_COMPLAINTS = ("error", "warning")
Theme = Literal["light", "dark"]
expect.set_options(timeout=LIMIT_MS)
# The tabs that tests share, of each browser, with and without script.
_lent: WeakKeyDictionary[Browser, dict[bool, Page]] = WeakKeyDictionary()


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
    browser: Browser, *, width: int = WIDTH_PX, theme: Theme = "light", **more: Any
) -> Iterator[Page]:
    """Open a tab with a profile of its own, for a person who wants little motion.

    Args:
        browser: The browser.
        width: Of the window in pixels; a narrow one is a phone's.
        theme: The one that the person prefers.
        more: Further options of Playwright's ``Browser.new_context``.
    """
    page = _new_tab(browser, width, color_scheme=theme, **more)
    try:
        yield page
    finally:
        page.context.close()


def _new_tab(browser: Browser, width: int, **more: Any) -> Page:
    height = PHONE_HEIGHT_PX if width < PHONE_PX else HEIGHT_PX
    # A page on which something moves is drawn sixty times a second.
    options = {"reduced_motion": "reduce", **more}
    context = browser.new_context(
        viewport={"width": width, "height": height}, **options
    )
    context.set_default_timeout(LIMIT_MS)
    return context.new_page()


@contextlib.contextmanager
def lent_tab(
    browser: Browser, headers: Mapping[str, str], *, with_script: bool = True
) -> Iterator[Page]:
    """Lend a tab that tests share, empty and without a memory.

    A new one takes Chromium half a second. A test that moves the clock of its tab, or
    adds a script to it, needs one of its own, since neither can be undone.

    Args:
        browser: The browser.
        headers: Those of its requests.
        with_script: Whether scripts run in it.
    """
    tabs = _lent.setdefault(browser, {})
    if with_script not in tabs:  # it closes with the browser
        tabs[with_script] = _new_tab(
            browser, WIDTH_PX, color_scheme="light", java_script_enabled=with_script
        )
    page = tabs[with_script]
    page.set_viewport_size({"width": WIDTH_PX, "height": HEIGHT_PX})
    page.set_extra_http_headers(dict(headers))
    try:
        yield page
    finally:
        page.unroute_all()
        if page.url.startswith("http"):
            page.evaluate("localStorage.clear()")
        page.goto("about:blank")
        page.context.clear_cookies()


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
