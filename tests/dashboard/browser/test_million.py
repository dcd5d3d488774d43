"""P-17: what a browser waits for and loads while a million jobs are stored."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from flask_forge_jobs.config.database import DatabaseSettings
from tests.acceptance.operating_data import fill_operations
from tests.dashboard.browser.sites import Site, read_anew, running_site
from tests.support.browser import complaints_of, tab
from tests.support.databases import sqlite_url
from tests.support.sql import Sql

pytestmark = pytest.mark.long
ROWS, REPEATS = 1_000_000, 7
PAGE_MS, REFRESH_MS, LOADED_BYTES = 300, 100, 150_000
_LOADED = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const files = performance.getEntriesByType("resource");
  return {
    server_ms: page.responseStart - page.requestStart,
    bytes: [page, ...files].reduce((sum, each) => sum + each.transferSize, 0),
  };
}"""
_REFRESHED = """async names => {
  const url = new URL(location);
  url.searchParams.set("only", names);
  const before = performance.now();
  const answer = await fetch(url, {headers: {Accept: "text/html"}});
  await answer.text();
  return [performance.now() - before, answer.ok];
}"""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a million jobs in 50 queues, of 200 kinds."""
    folder = tmp_path_factory.mktemp("full")
    url = sqlite_url(folder / "queue.sqlite")
    with running_site(folder, database_url=url) as made:
        made.storage.open()
        fill_operations(Sql(DatabaseSettings.from_url(url)), "sqlite", ROWS)
        yield made


@pytest.fixture
def page(browser: Browser, full: Site) -> Iterator[Page]:
    """A tab of an admin that keeps no file."""
    with tab(browser, extra_http_headers=full.headers["admin"]) as opened:
        yield opened


@pytest.mark.parametrize(
    "path", ["/", "/jobs", "/dead", "/jobs?queue=queue-7&status=dead", "/retries"]
)
def test_P17_a_million_jobs_are_shown_within_the_budget(
    page: Page, full: Site, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_anew(monkeypatch)
    complaints = complaints_of(page)
    page.goto(full.url(path))
    loaded = page.evaluate(_LOADED)
    assert 5_000 < loaded["bytes"] <= LOADED_BYTES

    opened, refreshed = [], []
    blocks = page.locator("main").get_attribute("data-blocks")
    for _ in range(REPEATS):
        page.goto(full.url(path))
        opened.append(page.evaluate(_LOADED)["server_ms"])
        took, is_ok = page.evaluate(_REFRESHED, blocks)
        assert is_ok
        refreshed.append(took)

    # What this machine can do: other work on it only adds to that.
    assert min(opened) <= PAGE_MS
    assert min(refreshed) <= REFRESH_MS
    assert complaints == []
