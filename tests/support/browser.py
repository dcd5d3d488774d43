"""A real browser: headless Chromium, one page after another."""

from __future__ import annotations

import os
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Of the page's own clock, which stands still while something is loading.
_PAGE_TIME_MS = 5000
_LIMIT_S = 120.0
QUIET = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Note the element."""
        del attrs
        self.names.add(tag)

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.texts.append(data)


class Page:
    """What became of a page.

    Args:
        dom: Its elements as HTML, after everything that it started has ended.
    """

    def __init__(self, dom: str) -> None:
        found = _Elements()
        found.feed(dom)
        self.elements = found.names
        self.text = "".join(found.texts)


class Browser:
    """Opens each page in a fresh profile.

    Args:
        profiles: Where the profiles are kept.
    """

    def __init__(self, profiles: Path) -> None:
        self._profiles = profiles
        self._program = program()
        self._opened = 0

    def open(self, url: str) -> Page:
        """Open a page as if its address had been typed in."""
        self._opened += 1
        finished = subprocess.run(
            [
                self._program, *QUIET, *as_root(),
                f"--user-data-dir={self._profiles / str(self._opened)}",
                f"--virtual-time-budget={_PAGE_TIME_MS}", "--dump-dom", url,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=_LIMIT_S,
            check=False,
        )  # fmt: skip
        assert finished.returncode == 0, finished.stderr
        return Page(finished.stdout)


def as_root() -> list[str]:
    """Return what Chromium needs to start as root: only without its sandbox."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []


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
