"""A browser and a site for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.dashboard.browser.filling import OPTIONS, WAYS
from tests.dashboard.browser.sites import Site, running_site
from tests.support.browser import running_browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser, which closes before other modules need an event loop."""
    with running_browser() as running:
        yield running


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A filled site; its tests may look at it, and change nothing."""
    with running_site(tmp_path_factory.mktemp("site"), **OPTIONS) as made:
        made.fill(*WAYS)
        yield made
