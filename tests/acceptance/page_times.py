"""Measures every page of the dashboard on the server, and the first one in a browser.

Run it with ``python -m tests.acceptance.page_times``. It fills a database with a
million jobs and serves it while a worker in another process runs some. Each page, also
with its usual filters, is opened while nothing that pages share is known yet, opened
again, and refreshed in parts when all its reads are due. For each it prints the times
on the server, the reads of the database, the bytes and the compressed bytes; the exit
status is 1 when a limit is missed. The limits are those of a machine without other
work.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import gzip
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from playwright.sync_api import Browser

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.dashboard.page_route import PageRoute
from flask_forge_jobs.dashboard.table import page_routes
from flask_forge_jobs.dashboard.warm_up import warm_up
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.postgres.transaction import PostgresTransaction
from flask_forge_jobs.storage.sqlite.transaction import SqliteTransaction
from tests.acceptance.driving import add_backend, measure_each
from tests.acceptance.large_site import large_site, large_url
from tests.acceptance.million import MS
from tests.dashboard.browser.sites import Site, every_page
from tests.support.browser import running_browser, tab

LIMIT_MS, FIRST_PAGE_LIMIT_MS, MAX_STATEMENTS = 60.0, 300.0, 3
LONGEST, LONGEST_PACKED = 60_000, 12_000
# The statements of the report in the frame.
REPORT = ("attention", "common_errors")
FIRST_PAGES = 5
# Between two requests, as a share of the first.
REST = 0.2
# By when everything is read anew, and by when the reads of a page are due.
FORGOTTEN_S, DUE_S = 200.0, 31.0
# The addresses that operators use most, beside those of all pages.
USUAL = (
    "/?range=7d",
    "/jobs?status=done",
    "/jobs?status=failed",
    "/jobs?queue=queue-1",
    "/jobs?kind=kind-1",
    "/jobs?last=24h",
    "/jobs?last=7d",
    "/jobs?error=account",
    "/jobs?q=account_id",
    "/jobs?q=nosuchthing",
    "/jobs?cron=nightly",
    "/jobs?min_attempts=1",
    "/jobs?ending=cancelled",
    "/jobs?sort=priority",
    "/scheduled?queue=queue-1",
    "/retries?kind=kind-1",
    "/retries?error=account",
    "/dead?queue=queue-1",
    "/dead?error=account",
    "/dead?last=24h",
    "/errors?range=24h",
    "/queues?sort=-waiting",
    "/kinds?range=7d",
    "/kinds?range=30d",
    "/kinds?by=queue",
    "/tail?queue_name=queue-1",
    "/find?q=queue-1",
)
# Until the browser has loaded and drawn all of a page.
_COMPLETE = """() => {
  const [loaded] = performance.getEntriesByType("navigation");
  const drawn = performance.getEntriesByName("first-contentful-paint");
  return Math.max(loaded.loadEventEnd, ...drawn.map(each => each.startTime));
}"""
_IS_COMPLETE = """() => performance.getEntriesByName("first-contentful-paint").length &&
  performance.getEntriesByType("navigation")[0].loadEventEnd > 0"""
_PIN = re.compile(rb'data-pin="([^"]+)"')
_PERSON = {"Accept": "text/html,*/*;q=0.8"}


class AheadClock(SystemClock):
    """The clock of this host, with its durations moved ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.monotonic = lambda: time.monotonic() + self.ahead_s


@dataclass(frozen=True, slots=True)
class Figure:
    """One way to ask for a page: times in milliseconds, sizes in bytes.

    ``way`` is ``first``, ``again`` or ``refresh``. Each of the ``reads`` is a snapshot
    of the database, in one statement or in a few; the report of the frame is none of
    them, which is read once a second for all pages.
    """

    path: str
    way: str
    median_ms: float
    p95_ms: float
    reads: int
    statements: int
    size: int
    packed: int

    @property
    def is_met(self) -> bool:
        """Whether all limits are met."""
        fits = self.size <= LONGEST and self.packed <= LONGEST_PACKED
        is_few = self.way != "refresh" or self.statements <= MAX_STATEMENTS
        return fits and is_few and self.p95_ms <= LIMIT_MS


@dataclass(slots=True)
class Asked:
    """What stores have asked the database."""

    reads: int = 0
    statements: int = 0


@contextlib.contextmanager
def counted() -> Iterator[Asked]:
    """Count reads and statements of this thread, the frame's report left out."""
    asked, own = Asked(), threading.get_ident()

    def read(run: Any) -> Any:
        def count(self: Any, given: Any, **more: Any) -> Any:
            if threading.get_ident() != own:
                return run(self, given, **more)
            statements = asked.statements
            result = run(self, given, **more)
            if given in REPORT or "Attention" in getattr(given, "__qualname__", ""):
                asked.statements = statements
            else:
                asked.reads += 1
                asked.statements = max(asked.statements, statements + 1)
            return result

        return count

    def statement(run: Any) -> Any:
        def count(self: Any, name: str, /, **parameters: Any) -> Any:
            asked.statements += threading.get_ident() == own
            return run(self, name, **parameters)

        return count

    with contextlib.ExitStack() as stack:
        for owner, name, wrapper in (
            (SqliteTransaction, "all", statement),
            (PostgresTransaction, "all", statement),
            (StoreExecutor, "read_one", read),
            (StoreExecutor, "read", read),
        ):
            before = getattr(owner, name)
            setattr(owner, name, wrapper(before))
            stack.callback(setattr, owner, name, before)
        yield asked


def blocks_of(path: str) -> str:
    """Return the blocks of a page that a refresh asks for; empty without one."""
    given = path.partition("?")[0]
    for route in page_routes():
        if isinstance(route, PageRoute) and route.path == given and route.is_page:
            return ",".join(("state", "pages", "alarms", *route.blocks))
    return ""


# Milliseconds, reads, statements, body.
Sample = tuple[float, int, int, bytes]


@dataclass(slots=True)
class Asking:
    """Asks for pages; ``clock`` is that of the site."""

    site: Site
    clock: AheadClock
    asked: Asked

    def figures(self, path: str, repeats: int) -> list[Figure]:
        """Ask for a page in each way, several times."""
        address, blocks = self.site.filled(path), blocks_of(path)
        refresh = f"{address}{'&' if '?' in address else '?'}only={blocks}"
        samples: dict[str, list[Sample]] = {}
        *_, body = self._get(address)  # compiles the template
        # Where a list begins stays, as the script says.
        pin = _PIN.search(body)
        refresh += f"&pin={pin[1].decode()}" if pin else ""
        for _ in range(repeats):
            self.clock.ahead_s += FORGOTTEN_S
            samples.setdefault("first", []).append(self._get(address))
            samples.setdefault("again", []).append(self._get(address))
            if blocks:
                self.clock.ahead_s += DUE_S
                samples.setdefault("refresh", []).append(self._get(refresh))
        return [_figure(path, way, each) for way, each in samples.items()]

    def _get(self, address: str) -> Sample:
        headers = {**self.site.headers["admin"], **_PERSON}
        client = self.site.app.test_client()
        self.asked.reads = self.asked.statements = 0
        before = time.perf_counter()
        answer = client.get(address, headers=headers)
        took = (time.perf_counter() - before) * MS
        assert answer.status_code == 200, f"{address}: {answer.text}"
        # At real-time priority a process that never rests is stopped for a while.
        time.sleep(took / MS * REST)
        return took, self.asked.reads, self.asked.statements, answer.data


def _figure(path: str, way: str, samples: list[Sample]) -> Figure:
    times, reads, statements, bodies = zip(*samples, strict=True)
    body = max(bodies, key=len)
    return Figure(
        path,
        way,
        median(times),
        quantiles(times, n=20)[-1],
        max(reads),
        max(statements),
        len(body),
        len(gzip.compress(body)),
    )


def first_page_ms(browser: Browser, site: Site, repeats: int) -> float:
    """Return the median of the milliseconds until the first page is complete."""
    samples = []
    for _ in range(repeats):
        with tab(browser, extra_http_headers=site.headers["admin"]) as page:
            page.goto(site.url())
            page.wait_for_function(_IS_COMPLETE)
            samples.append(float(page.evaluate(_COMPLETE)))
    return median(samples)


def run(
    backend: str, rows: int, repeats: int, only: str = "", url: str | None = None
) -> tuple[str, bool]:
    """Measure the pages on a backend and return a report.

    Args:
        backend: ``sqlite`` or ``postgres``.
        rows: How many jobs the database has, a multiple of 100.
        repeats: How often each page is asked for in each way.
        only: A regular expression; other paths are left out.
        url: A database that is filled already; jobs of it are run.
    """
    paths = [path for path in (*every_page(), *USUAL) if re.search(only, path)]
    clock = AheadClock()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        browser = stack.enter_context(running_browser())
        if url is None:
            url = stack.enter_context(large_url(backend, rows, None))
        site = stack.enter_context(large_site(url, folder, clock))
        asking = Asking(site, clock, stack.enter_context(counted()))
        warm_up(site.app)
        gc.freeze()  # both as forge-jobs-server does
        stack.callback(gc.unfreeze)
        figures = [each for path in paths for each in asking.figures(path, repeats)]
        first_ms = first_page_ms(browser, site, FIRST_PAGES)
    title = f"{backend}, in ms and bytes"
    are_met = all(each.is_met for each in figures) and first_ms <= FIRST_PAGE_LIMIT_MS
    return table(title, figures, first_ms), are_met


def table(title: str, figures: Sequence[Figure], first_ms: float) -> str:
    """Return the figures as text."""
    names = ("median", "p95", "reads", "stmts", "bytes", "packed")
    lines = [title, f"{'':<42}" + "".join(f"{name:>8}" for name in names)]
    lines += [
        f"{each.path[:33]:<34}{each.way:<8}{each.median_ms:>8.1f}{each.p95_ms:>8.1f}"
        f"{each.reads:>8}{each.statements:>8}{each.size:>8,}{each.packed:>8,}"
        f"  {'met' if each.is_met else 'MISSED'}"
        for each in figures
    ]
    is_met = first_ms <= FIRST_PAGE_LIMIT_MS
    lines.append(
        f"{'first page, in the browser':<42}{first_ms:>8.1f}{'':<40}"
        f"  {'met' if is_met else 'MISSED'}"
    )
    return "\n".join(lines)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--only", metavar="PATTERN", default="", help="of paths")
    parser.add_argument(
        "--url", help="a database of that backend that is filled already"
    )
    given = parser.parse_args()
    return measure_each(
        given.backend,
        lambda backend: run(backend, given.rows, given.repeats, given.only, given.url),
    )


if __name__ == "__main__":
    sys.exit(main())
