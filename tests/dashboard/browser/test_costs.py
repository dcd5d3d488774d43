"""What a refresh costs the database, of each page, alone and beside many others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_forge_jobs.dashboard.page_route import PageRoute
from flask_forge_jobs.dashboard.table import page_routes
from flask_forge_jobs.handlers.snapshots import Snapshots
from flask_forge_jobs.storage.executor import StoreExecutor
from tests.dashboard.browser.sites import Site, read_anew
from tests.support.backends import long

REFRESHED = [
    route
    for route in page_routes()
    if isinstance(route, PageRoute) and route.is_page and route.blocks
]
# The pages that people leave open; of the others, the full tier opens fifty as well.
LEFT_OPEN = {"/", "/jobs", "/queues", "/workers"}
MAX_QUERIES, OTHERS = 3, 50
# The report that the frame of all pages shows, read once a second for all of them.
ATTENTION = "/v1/attention"


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The reads of the database, as they come; each has one transaction."""
    asked: list[str] = []
    read, read_one = StoreExecutor.read, StoreExecutor.read_one

    def noting(store: StoreExecutor, work: Any, **more: Any) -> Any:
        # A methodcaller has no name of its own.
        asked.append(getattr(work, "__qualname__", repr(work)))
        return read(store, work, **more)

    def noting_one(store: StoreExecutor, name: str, /, **given: Any) -> Any:
        asked.append(name)
        return read_one(store, name, **given)

    monkeypatch.setattr(StoreExecutor, "read", noting)
    monkeypatch.setattr(StoreExecutor, "read_one", noting_one)
    return asked


def refresher(site: Site, route: PageRoute) -> Callable[[], None]:
    """Return a function that asks for the blocks of a page."""
    client = site.app.test_client()
    path = f"{site.filled(route.path)}?only={','.join(route.blocks)}"
    headers = {**site.headers["admin"], "Accept": "text/html"}

    def ask() -> None:
        answer = client.get(path, headers=headers)
        assert answer.status_code == 200

    ask()  # what is read once in the life of a process
    return ask


@pytest.mark.parametrize("route", REFRESHED, ids=lambda route: str(route.path))
def test_a_refresh_asks_three_times_at_most(
    site: Site, route: PageRoute, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = refresher(site, route)
    client = site.app.test_client()
    client.get(f"/jobs{ATTENTION}", headers=site.headers["admin"])  # shared by all
    read_anew(monkeypatch)
    queries.clear()

    refresh()

    assert len(queries) <= MAX_QUERIES, queries


@pytest.mark.parametrize(
    "route",
    [route if route.path in LEFT_OPEN else long(route) for route in REFRESHED],
    ids=lambda route: str(route.path),
)
def test_many_open_pages_ask_no_more_than_one(
    site: Site, route: PageRoute, queries: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = refresher(site, route)
    queries.clear()
    # Within one second, however long that takes.
    monkeypatch.setattr(Snapshots, "_is_young", lambda _, slot, __: bool(slot.read_at))

    for _ in range(OTHERS):
        refresh()

    assert len(queries) <= MAX_QUERIES, queries
