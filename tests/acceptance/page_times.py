"""Times and sizes of pages on the server, and the first page in a browser."""

from __future__ import annotations

import gzip
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from playwright.sync_api import Browser

from tests.acceptance.million import MS
from tests.dashboard.browser.sites import Site
from tests.support.browser import tab

LIMIT_MS, FIRST_PAGE_LIMIT_MS = 60.0, 300.0
LONGEST, LONGEST_PACKED = 60_000, 12_000
# Until the browser has loaded and drawn all of a page.
_COMPLETE = """() => {
  const [loaded] = performance.getEntriesByType("navigation");
  const drawn = performance.getEntriesByName("first-contentful-paint");
  return Math.max(loaded.loadEventEnd, ...drawn.map(each => each.startTime));
}"""
_IS_COMPLETE = """() => performance.getEntriesByName("first-contentful-paint").length &&
  performance.getEntriesByType("navigation")[0].loadEventEnd > 0"""
_PERSON = {"Accept": "text/html,*/*;q=0.8"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One page: its times in milliseconds and its sizes in bytes."""

    path: str
    median_ms: float
    p95_ms: float
    size: int
    packed: int

    @property
    def is_met(self) -> bool:
        """Whether all limits are met."""
        fits = self.size <= LONGEST and self.packed <= LONGEST_PACKED
        return fits and self.p95_ms <= LIMIT_MS


def measure(site: Site, paths: Sequence[str], repeats: int) -> list[Figure]:
    """Ask for each page several times, the pages in turn."""
    client = site.app.test_client()
    headers = {**site.headers["admin"], **_PERSON}
    samples: dict[str, list[float]] = {path: [] for path in paths}
    bodies: dict[str, bytes] = {}
    for _ in range(repeats + 1):
        for path in paths:
            before = time.perf_counter()
            answer = client.get(site.filled(path), headers=headers)
            samples[path].append((time.perf_counter() - before) * MS)
            assert answer.status_code == 200, f"{path}: {answer.text}"
            bodies[path] = answer.data
    return [
        Figure(
            path,
            median(each[1:]),  # the first one compiles templates
            quantiles(each[1:], n=20)[-1],
            len(bodies[path]),
            len(gzip.compress(bodies[path])),
        )
        for path, each in samples.items()
    ]


def first_page_ms(browser: Browser, site: Site, repeats: int) -> float:
    """Return the median of the milliseconds until the first page is complete."""
    samples = []
    for _ in range(repeats):
        with tab(browser, extra_http_headers=site.headers["admin"]) as page:
            page.goto(site.url())
            page.wait_for_function(_IS_COMPLETE)
            samples.append(float(page.evaluate(_COMPLETE)))
    return median(samples)


def table(title: str, figures: Sequence[Figure], first_ms: float) -> str:
    """Return the figures as text."""
    lines = [title, f"{'':<34}{'median':>8}{'p95':>8}{'bytes':>8}{'packed':>8}"]
    lines += [
        f"{each.path[:33]:<34}{each.median_ms:>8.1f}{each.p95_ms:>8.1f}"
        f"{each.size:>8,}{each.packed:>8,}  {'met' if each.is_met else 'MISSED'}"
        for each in figures
    ]
    is_met = first_ms <= FIRST_PAGE_LIMIT_MS
    lines.append(
        f"{'first page, in the browser':<34}{first_ms:>8.1f}{'':<24}"
        f"  {'met' if is_met else 'MISSED'}"
    )
    return "\n".join(lines)
