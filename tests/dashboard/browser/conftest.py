"""A browser for the tests of this folder, and a site for each module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.dashboard.browser.filling import OPTIONS, WAYS
from tests.dashboard.browser.sites import Site, running_site
from tests.support.browser import running_browser

FOLDER = Path(__file__).parent
_kept: dict[str, tuple[Browser, ExitStack]] = {}


@pytest.fixture(scope="module")
def browser() -> Browser:
    """A browser, which closes before tests elsewhere need an event loop."""
    if "open" not in _kept:
        with ExitStack() as stack:
            running = stack.enter_context(running_browser())
            _kept["open"] = running, stack.pop_all()
    return _kept["open"][0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """Close the browser after the last test of this folder."""
    try:
        yield
    finally:
        if nextitem is None or nextitem.path.parent != FOLDER:
            for _, stack in _kept.values():
                stack.close()
            _kept.clear()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A filled site; its tests may look at it, and change nothing."""
    with running_site(tmp_path_factory.mktemp("site"), **OPTIONS) as made:
        made.fill(*WAYS)
        yield made
