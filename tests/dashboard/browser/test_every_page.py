"""What holds for every page, whoever names the things on it: P-05, P-07, P-09, P-10.

A page that lands is covered at once. What its address needs comes from
:mod:`.filling`.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response

from tests.dashboard.browser import probes
from tests.dashboard.browser.filling import HIT, SECRET
from tests.dashboard.browser.sites import CALLERS, Site, every_page
from tests.support.backends import long
from tests.support.browser import Theme, complaints_of, elements_of, tab

# Each width lays a page out anew; 640 is 1280 at a zoom of 200 %.
WIDTHS = (360, 390, 640, 768, 1100, 1280, 1920)
FEW_WIDTHS = (360, 768, 1280)
# The theme and the scanned width of the default tier.
DEFAULT = ("light", 1280)
PAGES = every_page()
# Lists of jobs with the parts of /jobs and /dead.
ALIKE = {"/retries", "/scheduled", "/skipped"}
LONGEST_PAGE, LONGEST_PACKED = 60_000, 12_000
# Elements that no page of ours has: they would be a stranger's.
NEVER = {"iframe", "object", "embed", "style", "base", "video", "math", "template"}


def opened(page: Page, site: Site, path: str) -> Response:
    """Open a page and return its answer."""
    answer = page.goto(site.url(path))
    assert answer is not None
    assert answer.status == 200, path
    return answer


@pytest.fixture(scope="module")
def themes(
    browser: Browser, site: Site
) -> Iterator[Callable[[Theme], tuple[Page, list[str]]]]:
    """A tab of an admin in each theme that is asked for, and its complaints."""
    headers = site.headers["admin"]
    with ExitStack() as stack:

        @cache
        def tab_of(theme: Theme) -> tuple[Page, list[str]]:
            page = tab(browser, theme=theme, extra_http_headers=headers)
            opened = stack.enter_context(page)
            return opened, complaints_of(opened)

        yield tab_of


@pytest.mark.parametrize(
    "path", [long(path) if path in ALIKE else path for path in PAGES]
)
@pytest.mark.parametrize(
    ("theme", "scanned"),
    [
        DEFAULT,
        pytest.param("dark", 390, marks=pytest.mark.long),
        pytest.param("light", 390, marks=pytest.mark.long),
        pytest.param("dark", 1280, marks=pytest.mark.long),
    ],
)
def test_P05_P07_P09_P10_D26_sound_in_every_theme_and_width(
    themes: Callable[[Theme], tuple[Page, list[str]]],
    site: Site,
    path: str,
    theme: Theme,
    scanned: int,
) -> None:
    page, complaints = themes(theme)
    complaints.clear()
    site.asked.clear()
    answer = opened(page, site, path)

    assert probes.facts_of(page) == probes.SOUND
    assert not elements_of(page) & NEVER
    for width in FEW_WIDTHS if (theme, scanned) == DEFAULT else WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert probes.too_wide(page) == [], width
    page.set_viewport_size({"width": scanned, "height": 800})
    assert probes.scan(page) == []
    assert probes.unseen_focus(page) == []
    assert complaints == []
    assert [each for each in site.asked if each.endswith(HIT)] == []
    check_answer(answer)


def check_answer(answer: Response) -> None:
    """Check the headers and the size of a page."""
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "no-store" in answer.headers["cache-control"]
    body = answer.body()
    assert len(body) <= LONGEST_PAGE
    assert len(gzip.compress(body)) <= LONGEST_PACKED
    assert SECRET.encode() not in body


@pytest.mark.long
@pytest.mark.parametrize("path", PAGES)
def test_P05_P07_P08_P10_complete_without_script_and_with_preferences(
    browser: Browser, site: Site, path: str
) -> None:
    """Nothing moves, colours are the person's own, and the zoom is 200 %."""
    preferences: dict[str, Any] = {
        "java_script_enabled": False, "forced_colors": "active",
        "reduced_motion": "reduce", "extra_http_headers": site.headers["admin"],
        "device_scale_factor": 2,
    }  # fmt: skip
    with tab(browser, width=640, **preferences) as page:
        complaints = complaints_of(page)
        site.asked.clear()
        answer = opened(page, site, path)

        assert probes.facts_of(page) == probes.SOUND
        assert page.locator("h1").inner_text().strip()
        assert probes.too_wide(page) == []
        assert probes.moving(page) == []
        assert probes.lost_marks(page) == []
        assert complaints == []
        assert [each for each in site.asked if each.endswith(HIT)] == []
        check_answer(answer)


@pytest.mark.long
@pytest.mark.parametrize("caller", [*CALLERS, "stranger"])
def test_each_caller_gets_a_sound_page_or_a_refusal(
    browser: Browser, site: Site, caller: str
) -> None:
    headers = site.headers.get(caller, {})
    with tab(browser, width=390, extra_http_headers=headers) as page:
        for path in PAGES:
            answer = page.goto(site.url(path))
            assert answer is not None
            # A limited caller does not learn that a job of other queues exists.
            assert answer.status in (200, 401, 403, 404), (path, answer.status)
            assert caller != "admin" or answer.status == 200, path
            assert probes.facts_of(page) == probes.SOUND, path
            assert probes.too_wide(page) == [], path
            if answer.status != 200:
                assert probes.scan(page) == [], path


# -- the checks can fail -----------------------------------------------------------

WRONG = """<!doctype html><html lang=en><title>x</title><main><h1>x</h1>
<p style="width: 3000px; color: #999">faint</p><img src=/hit>
<a href="javascript:1" onclick="1">x</a><iframe></iframe></main>
<style>a:focus { outline: none } p { animation: a 9s } @keyframes a {}
i { mask-image: linear-gradient(red, red) }</style><i></i><script>1</script>"""


def test_what_is_wrong_is_seen(browser: Browser, site: Site) -> None:
    """Without this the tests above might find nothing because they look wrongly."""
    with tab(browser, forced_colors="active") as page:
        opened(page, site, "/health")
        complaints = complaints_of(page)
        page.set_content(WRONG)

        assert probes.facts_of(page) != probes.SOUND
        assert "iframe" in elements_of(page) & NEVER
        assert probes.too_wide(page)
        assert any("color-contrast" in each for each in probes.scan(page))
        assert any("image-alt" in each for each in probes.scan(page))
        assert probes.unseen_focus(page)
        assert probes.moving(page)
        assert probes.lost_marks(page)
        assert complaints
