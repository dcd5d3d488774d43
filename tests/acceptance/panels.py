"""A hundred open pages beside one: statements, transactions and answers.

Half of them are event streams, half poll, all once a second, each on one of the pages
that operators keep open. The same pages, opened once each and refreshed once a second,
are what they are compared with: a process reads once a second, however many look.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask_forge_jobs.dashboard.page_route import PageRoute
from flask_forge_jobs.dashboard.table import page_routes
from flask_forge_jobs.handlers.snapshots import KEPT_S
from flask_forge_jobs.storage.postgres.transaction import PostgresTransaction
from flask_forge_jobs.storage.sqlite.transaction import SqliteTransaction
from tests.acceptance.driving import drive
from tests.dashboard.browser.sites import Site, running_site

PANELS, SECONDS = 100, 10
PAGES = ("/", "/jobs", "/queues", "/workers")
MAX_SHARE = 1.2
_STATEMENTS: Sequence[tuple[type[Any], str]] = (
    (SqliteTransaction, "all"),
    (SqliteTransaction, "run"),
    (PostgresTransaction, "all"),
    (PostgresTransaction, "run"),
)
_GIVE_UP_S = 30


@dataclass
class Counts:
    """What was asked, from several threads."""

    statements: list[str] = field(default_factory=list)
    polls: list[int] = field(default_factory=list)
    events: list[int] = field(default_factory=list)


@contextlib.contextmanager
def counted(counts: Counts) -> Iterator[None]:
    """Count the statements of this process."""
    before = [(owner, name, getattr(owner, name)) for owner, name in _STATEMENTS]

    def counting(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(own: object, name: str, /, *given: Any, **more: Any) -> Any:
            counts.statements.append(name)
            return method(own, name, *given, **more)

        return call

    try:
        for owner, name, method in before:
            setattr(owner, name, counting(method))
        yield
    finally:
        for owner, name, method in before:
            setattr(owner, name, method)


def refreshed(site: Site, path: str) -> str:
    """Return the address that a page's script asks for."""
    (route,) = (
        each
        for each in page_routes()
        if isinstance(each, PageRoute) and each.path == path
    )
    blocks = ",".join(("state", "pages", "alarms", *route.blocks))
    return f"{site.url(path)}?only={blocks}"


def poll(site: Site, url: str, counts: Counts, until: float) -> None:
    """Refresh a page once a second."""
    headers = {**site.headers["admin"], "Accept": "text/html"}
    with contextlib.closing(_connection(url)) as connection:
        while (begun := time.monotonic()) < until:
            connection.request("GET", _path(url), headers=headers)
            with connection.getresponse() as answer:
                answer.read()
                counts.polls.append(answer.status)
            time.sleep(max(begun + KEPT_S - time.monotonic(), 0))


def hear(site: Site, url: str, counts: Counts, until: float) -> None:
    """Read the events of a page, opening its stream again when it ends."""
    headers = {**site.headers["admin"], "Accept": "text/event-stream"}
    while time.monotonic() < until:
        with (
            contextlib.closing(_connection(url)) as connection,
            contextlib.suppress(HTTPException),
        ):
            connection.request("GET", f"{_path(url)}&stream=1", headers=headers)
            with connection.getresponse() as answer:
                for line in iter(answer.readline, b""):
                    if line == b"\n":
                        counts.events.append(answer.status)
                    if time.monotonic() >= until:
                        return


def _connection(url: str) -> HTTPConnection:
    parts = urlsplit(url)
    return HTTPConnection(str(parts.hostname), parts.port, timeout=_GIVE_UP_S)


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def of_one(site: Site, rounds: int = 3) -> float:
    """Return the statements of a refresh of each page, once nothing is known."""
    counts = Counts()
    urls = [refreshed(site, path) for path in PAGES]
    for url in urls:
        poll(site, url, counts, time.monotonic() + KEPT_S / 2)
    with counted(counts):
        for _ in range(rounds):
            time.sleep(2 * KEPT_S)
            for url in urls:
                poll(site, url, counts, time.monotonic() + KEPT_S / 100)
    return len(counts.statements) / rounds


def of_many(site: Site, panels: int, seconds: float) -> Counts:
    """Return what a crowd asks in some seconds."""
    counts = Counts()
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(
            target=(hear, poll)[number % 2],
            args=(
                site,
                refreshed(site, PAGES[number // 2 % len(PAGES)]),
                counts,
                until,
            ),
        )
        for number in range(panels)
    ]
    with counted(counts):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return counts


def compare(
    url: str, folder: Path, panels: int = PANELS, seconds: float = SECONDS
) -> tuple[str, bool]:
    """Return a report, and whether the crowd cost no more than one."""
    with running_site(folder, database_url=url, dashboard_streams=panels // 2) as site:
        site.fill()
        one = of_one(site) * seconds / KEPT_S
        many = of_many(site, panels, seconds)
    share = len(many.statements) / one
    refused = [each for each in (*many.polls, *many.events) if each not in {200, 304}]
    text = (
        f"{len(PAGES)} pages, each refreshed once a second for {seconds} s: "
        f"{one:.0f} statements\n"
        f"{panels} panels on them: {len(many.statements)} statements "
        f"({share:.2f} of that; at most {MAX_SHARE}), {len(many.polls)} polls and "
        f"{len(many.events)} events, {len(refused)} refused"
    )
    has_both = bool(many.polls) and bool(many.events)
    return text, has_both and not refused and share <= MAX_SHARE


def main() -> int:
    """Run the driver from the command line."""
    options = {"panels": PANELS, "seconds": SECONDS}
    return drive("panels", __doc__, options, compare)


if __name__ == "__main__":
    sys.exit(main())
