"""Takes pictures of every page in every state.

Run it with ``python -m tests.acceptance.pictures``. It serves a database with 50 queues
and a million jobs while a worker in another process runs some, one with jobs in every
state, an empty one, one with names that strangers chose, and one that does not answer,
and opens every page of each: light and dark, at 1280 and 390 pixels, and as callers who
may see less. The pictures go into a folder that git ignores.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from threading import Event, Thread

from playwright.sync_api import Browser, Page

from flask_forge_jobs.storage.bulk_runs import LEASE_S
from tests.acceptance import doc_pictures
from tests.acceptance.driving import add_backend, chosen_backends
from tests.acceptance.large_site import large_site, large_url
from tests.dashboard.browser.filling import WAYS, keep
from tests.dashboard.browser.sites import Site, every_page, running_site
from tests.support.browser import Theme, complaints_of, running_browser, tab

FOLDER = Path("pictures")
WIDTHS = (1280, 390)
THEMES: tuple[Theme, ...] = ("light", "dark")
LARGE = "many"
# Nothing listens there.
AWAY_URL = "postgresql://nobody@127.0.0.1:9/none"
# Further addresses with a look of their own, by name; those of no page are refused.
MORE: Mapping[str, str] = {"no-such-page": "/no-such-page", "sign-in": "/sign-in"}
# Questions, forms, tables and lists without a match.
STATES: Mapping[str, str] = {
    "ask-cancel": "/jobs/<running_id>?ask=cancel",
    "ask-delete": "/dead?all=1&ask=delete",
    "ask-enqueue": "/jobs?ask=enqueue",
    "ask-pause": "/queues?ask=pause&queue=<name>",
    "ask-remove": "/queues?ask=remove&queue=<name>",
    "ask-retry": "/retries?all=1&ask=retry",
    "ask-retry-batch": "/batches/<batch_id>?ask=retry",
    "error-one": "/errors?signature=no%20card",
    "errors-none-match": "/errors?kind=absent",
    "find-none": "/find?q=absent",
    "jobs-none-match": "/jobs?queue=absent&last=1h",
    "jobs-one-running": "/jobs/<running_id>",
    "kind-one": "/kinds?kind=charge_card",
    "new-queue": "/queues?ask=new",
    "new-schedule": "/cron?new=1",
    "queues-none-match": "/queues?q=absent",
    "queues-settings": "/queues?edit=<name>",
    "table": "/?table=throughput",
    "workers-none-match": "/workers?host=absent",
}
# A value for each placeholder, of nothing that is stored.
ABSENT: Mapping[str, str] = {
    **dict.fromkeys(("job_id", "batch_id"), "0" * 26),
    **dict.fromkeys(("name", "worker_id", "run_id"), "absent"),
}
# Who sees less, by scene.
CALLERS: Mapping[str, str] = {
    "viewer": "viewer", "limited": "few", "stranger": "stranger",
}  # fmt: skip
# A third of a lease.
KEEP_S = LEASE_S / 3
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

    def take(
        self,
        site: Site,
        scene: str,
        caller: str = "admin",
        more: Mapping[str, str] = MORE,
    ) -> None:
        """Open every page as a caller; what the browser complains of is printed."""
        if self.scene not in scene:
            return
        pages = {slug(path): path for path in every_page()}
        for look, page in self._looks(site, caller):
            complaints = complaints_of(page)
            for name, path in {**pages, **more}.items():
                if self.only not in path:
                    continue
                complaints.clear()
                answer = page.goto(site.url(path))
                # The shade below a dialog is as high as the window.
                is_whole = not page.locator(":modal").count()
                self._save(page, f"{scene}/{name}-{look}.png", full_page=is_whole)
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
                page.locator(":modal li").first.wait_for()
                self._save(page, f"{scene}/{name}-{look}.png", full_page=False)

    def _looks(self, site: Site, caller: str) -> Iterator[tuple[str, Page]]:
        headers = site.headers.get(caller, {})
        for width, theme in product(WIDTHS, THEMES):
            # A dialog that rises is half transparent.
            with tab(
                self.browser, width=width, theme=theme, extra_http_headers=headers,
                reduced_motion="reduce",
            ) as page:  # fmt: skip
                yield f"{width}-{theme}", page

    def _save(self, page: Page, name: str, *, full_page: bool) -> None:
        page.screenshot(path=self.folder / name, full_page=full_page)


def slug(path: str) -> str:
    """Return the name of a page's pictures."""
    return re.sub(r"<[^>]*>", "one", path).strip("/").replace("/", "-") or "overview"


def take_large(
    photographer: Photographer, backend: str, rows: int, ready: Path | None = None
) -> None:
    """Take the pictures of the large database.

    Args:
        photographer: Takes them.
        backend: ``sqlite`` or ``postgres``.
        rows: How many jobs the database has, a multiple of 100.
        ready: A file of SQLite that is filled already, or will be.
    """
    with (
        tempfile.TemporaryDirectory() as scratch,
        large_url(backend, rows, ready) as url,
        large_site(url, Path(scratch)) as site,
    ):
        photographer.take(site, LARGE)


def take_small(photographer: Photographer) -> None:
    """Take the pictures of small databases, and of one that does not answer."""
    with tempfile.TemporaryDirectory() as folder:
        _take_small(photographer, Path(folder))


def _take_small(photographer: Photographer, scratch: Path) -> None:
    with running_site(scratch / "full") as site:
        site.fill()
        with _kept(site):
            photographer.take(site, "full", more={**MORE, **STATES})
            photographer.take_overlays(site, "full")
            for scene, caller in CALLERS.items():
                photographer.take(site, scene, caller)
    with running_site(scratch / "strange") as site:
        site.fill(*WAYS, shows_strings=True)
        photographer.take(site, "strange")
    with running_site(scratch / "empty") as site:
        site.use(ABSENT)
        photographer.take(site, "empty")
    with running_site(scratch / "away", database_url=AWAY_URL) as site:
        site.use(ABSENT)
        photographer.take(site, "away")


@contextlib.contextmanager
def _kept(site: Site) -> Iterator[None]:
    """Let worker and bulk run go on while the pictures are taken.

    Else the worker would be lost in most of them, and the site would take the run over
    and retry the dead jobs.
    """
    is_over = Event()

    def go_on() -> None:
        while not is_over.wait(KEEP_S):
            keep(site.storage, site.examples)

    thread = Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_backend(parser)
    parser.add_argument("--rows", type=int, default=1_000_000)
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
    parser.add_argument(
        "--docs", action="store_true", help="take those of the documentation only"
    )
    given = parser.parse_args()
    with running_browser() as browser:
        if given.docs:
            with tempfile.TemporaryDirectory() as scratch:
                doc_pictures.take(browser, doc_pictures.FOLDER, Path(scratch))
            return 0
        photographer = Photographer(browser, given.folder, given.only, given.scene)
        take_small(photographer)
        if given.scene in LARGE:
            word = "sqlite" if given.database else given.backend
            for backend in chosen_backends(word):
                take_large(photographer, backend, given.rows, given.database)
    return 0


if __name__ == "__main__":
    sys.exit(main())
