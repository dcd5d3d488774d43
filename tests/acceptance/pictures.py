"""Takes pictures of every page in every state, and measures the pages.

Run it with ``python -m tests.acceptance.pictures``. It serves a database with 50 queues
and a million jobs while a worker in another process runs some, one with jobs in every
state, an empty one, one with names that strangers chose, and one that does not answer,
and opens every page of each: light and dark, at 1280 and 390 pixels, and as callers who
may see less. The pictures go into a folder that git ignores. Of the large database it
prints the server's time, the size and the compressed size of each page; the exit status
is 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from playwright.sync_api import Browser, Page

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.cron import ScheduleDefinition
from flask_forge_jobs.storage.base import open_storage
from tests.acceptance.driving import add_backend, measure_each
from tests.acceptance.operating import traffic
from tests.acceptance.operating_data import fill_operations
from tests.acceptance.page_times import (
    FIRST_PAGE_LIMIT_MS,
    first_page_ms,
    measure,
    table,
)
from tests.dashboard.browser.filling import WAYS, begin_bulk
from tests.dashboard.browser.sites import Site, every_page, running_site
from tests.support.browser import Theme, complaints_of, running_browser, tab
from tests.support.databases import fresh_url, sqlite_url
from tests.support.sql import Sql

FOLDER = Path("pictures")
WIDTHS = (1280, 390)
THEMES: tuple[Theme, ...] = ("light", "dark")
FIRST_PAGES = 5
LARGE = "many"
PAUSE_S = 0.02  # so that some jobs are seen to run
# Nothing listens there.
AWAY_URL = "postgresql://nobody@127.0.0.1:9/none"
# Further addresses with a look of their own, by name; those of no page are refused.
MORE: Mapping[str, str] = {"no-such-page": "/no-such-page"}
# Keys that open something over the first page.
OVERLAYS: Mapping[str, str] = {"palette": "/", "help": "?"}


@dataclass(frozen=True, slots=True)
class Photographer:
    """Takes pictures of a site.

    Args:
        browser: The browser.
        folder: Where the pictures go.
        only: Paths without this text are left out.
        scene: Likewise the names of scenes.
    """

    browser: Browser
    folder: Path
    only: str = ""
    scene: str = ""

    def take(self, site: Site, scene: str, caller: str = "admin") -> None:
        """Open every page as a caller; what the browser complains of is printed."""
        if self.scene not in scene:
            return
        pages = {slug(path): path for path in every_page()}
        for look, page in self._looks(site, caller):
            complaints = complaints_of(page)
            for name, path in {**pages, **MORE}.items():
                if self.only not in path:
                    continue
                complaints.clear()
                answer = page.goto(site.url(path))
                self._save(page, f"{scene}/{name}-{look}.png", full_page=True)
                # The status of a refused page is no fault.
                if answer is not None and answer.ok and complaints:
                    sys.stderr.write(f"{scene} {path} {look}: {complaints}\n")

    def take_overlays(self, site: Site, scene: str) -> None:
        """Open what lies over the first page."""
        if self.scene not in scene:
            return
        for look, page in self._looks(site, "admin"):
            for name, key in OVERLAYS.items():
                page.goto(site.url())
                page.keyboard.press(key)
                self._save(page, f"{scene}/{name}-{look}.png", full_page=False)

    def _looks(self, site: Site, caller: str) -> Iterator[tuple[str, Page]]:
        headers = site.headers.get(caller, {})
        for width, theme in product(WIDTHS, THEMES):
            with tab(
                self.browser, width=width, theme=theme, extra_http_headers=headers
            ) as page:
                yield f"{width}-{theme}", page

    def _save(self, page: Page, name: str, *, full_page: bool) -> None:
        page.screenshot(path=self.folder / name, full_page=full_page)


def slug(path: str) -> str:
    """Return the name of a page's pictures."""
    return re.sub(r"<[^>]*>", "one", path).strip("/").replace("/", "-") or "overview"


def fill_large(url: str, rows: int) -> None:
    """Fill an empty database with so many jobs."""
    settings = DatabaseSettings.from_url(url)
    with closing(open_storage(settings)) as storage:
        storage.open()
        fill_operations(Sql(settings), settings.backend, rows)
        # Named like a queue, so that one name fits both pages.
        storage.cron.create(ScheduleDefinition("queue-1", "kind-1", "*/5 * * * *"))


@contextlib.contextmanager
def large_url(backend: str, rows: int, ready: Path | None) -> Iterator[str]:
    """Yield the URL of a database with so many jobs, or of a copy of a ready file."""
    with fresh_url(backend) as url:
        if ready is None:
            fill_large(url, rows)
        else:
            if not ready.exists():
                fill_large(sqlite_url(ready), rows)
            copy = DatabaseSettings.from_url(url).path
            assert copy is not None, "a ready file is one of SQLite"
            with (
                closing(sqlite3.connect(ready)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
        yield url


@contextlib.contextmanager
def large_site(url: str, folder: Path) -> Iterator[Site]:
    """Serve the large database while a worker runs some of its jobs."""
    settings = DatabaseSettings.from_url(url)
    with closing(open_storage(settings)) as storage:
        run_id = begin_bulk(storage)
    with traffic(url, PAUSE_S):
        sql = Sql(settings)
        with running_site(folder, database_url=url) as site:
            failed = "SELECT MAX(id) FROM forge_job WHERE status = 'failed'"
            workers = "SELECT MIN(worker_id) FROM forge_worker"
            site.use(
                {
                    "name": "queue-1",
                    "job_id": sql.value(failed),
                    "worker_id": sql.value(workers),
                    "run_id": run_id,
                }
            )
            yield site


def run(
    photographer: Photographer,
    backend: str,
    rows: int,
    repeats: int,
    ready: Path | None = None,
) -> tuple[str, bool]:
    """Take the pictures of the large database, measure and return a report.

    Args:
        photographer: Takes them.
        backend: ``sqlite`` or ``postgres``.
        rows: How many jobs the database has, a multiple of 100.
        repeats: How often each page is asked for.
        ready: A file of SQLite that is filled already, or will be.
    """
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(large_url(backend, rows, ready))
        site = stack.enter_context(large_site(url, scratch))
        photographer.take(site, LARGE)
        paths = [path for path in every_page() if photographer.only in path]
        figures = measure(site, paths, repeats)
        first_ms = first_page_ms(photographer.browser, site, FIRST_PAGES)
    title = f"{backend}, {rows:,} jobs, in ms and bytes"
    are_met = all(each.is_met for each in figures) and first_ms <= FIRST_PAGE_LIMIT_MS
    return table(title, figures, first_ms), are_met


def take_small(photographer: Photographer) -> None:
    """Take the pictures of small databases, and of one that does not answer."""
    with tempfile.TemporaryDirectory() as folder:
        _take_small(photographer, Path(folder))


def _take_small(photographer: Photographer, scratch: Path) -> None:
    with running_site(scratch / "full") as site:
        site.fill()
        photographer.take(site, "full")
        photographer.take_overlays(site, "full")
        for caller in ("viewer", "limited", "stranger"):
            photographer.take(site, caller, caller)
    with running_site(scratch / "strange") as site:
        site.fill(*WAYS)
        photographer.take(site, "strange")
    absent = {"job_id": "0" * 26, "name": "absent", "worker_id": "absent"}
    absent["run_id"] = "absent"
    with running_site(scratch / "empty") as site:
        site.use(absent)
        photographer.take(site, "empty")
    with running_site(scratch / "away", database_url=AWAY_URL) as site:
        site.use(absent)
        photographer.take(site, "away")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--only", metavar="TEXT", default="", help="a part of a path")
    parser.add_argument(
        "--scene", metavar="TEXT", default="", help="a part of a scene's name"
    )
    parser.add_argument(
        "--database",
        metavar="FILE",
        type=Path,
        help="the large database, of SQLite: filled if it is absent, else copied",
    )
    given = parser.parse_args()
    with running_browser() as browser:
        photographer = Photographer(browser, given.folder, given.only, given.scene)
        take_small(photographer)
        if given.scene not in LARGE:
            return 0
        return measure_each(
            "sqlite" if given.database else given.backend,
            lambda backend: run(
                photographer, backend, given.rows, given.repeats, given.database
            ),
        )


if __name__ == "__main__":
    sys.exit(main())
