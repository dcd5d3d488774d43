"""What phones have: a menu of the caller, wide cards, and targets for fingers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.browser import probes
from tests.dashboard.browser.sites import Site
from tests.support.browser import complaints_of, tab

WIDTH, HEIGHT = 390, 844


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """A tab of a stranger, as wide as a phone."""
    with tab(browser, width=WIDTH) as opened:
        yield opened


def test_the_menu_of_the_caller_is_used_by_keys_alone(phone: Page, site: Site) -> None:
    complaints = complaints_of(phone)
    phone.set_extra_http_headers(dict(site.headers["viewer"]))
    phone.goto(site.url("/jobs"))
    menu = phone.locator(".user")

    probes.reach(phone, menu.locator("summary").get_attribute("aria-label") or "")
    phone.keyboard.press("Enter")
    expect(menu).to_contain_text("role: viewer")
    expect(phone.locator("#help")).to_be_visible()
    assert probes.scan(phone) == []
    assert probes.too_wide(phone) == []
    phone.keyboard.press("ArrowDown")
    expect(phone.locator("#help")).to_be_focused()
    phone.keyboard.press("Escape")
    expect(menu).not_to_have_attribute("open", "")
    expect(menu.locator("summary")).to_be_focused()

    phone.keyboard.press("Enter")
    phone.locator("#help").click()
    expect(phone.get_by_role("dialog")).to_contain_text("next row")
    phone.keyboard.press("Escape")
    expect(phone.locator("#help")).to_be_focused()
    assert complaints == []


def test_segments_are_as_high_as_a_finger(phone: Page, site: Site) -> None:
    phone.set_extra_http_headers(dict(site.headers["viewer"]))
    phone.goto(site.url("/"))

    heights = phone.locator(".seg a").evaluate_all(
        "all => all.map(a => a.clientHeight)"
    )

    assert len(heights) > 3
    assert min(heights) >= 40


def test_the_card_of_the_sign_in_is_as_wide_as_the_phone(
    phone: Page, site: Site
) -> None:
    phone.goto(site.url("/sign-in"))

    box = phone.locator(".door .form").bounding_box()

    assert box is not None
    assert box["width"] > WIDTH - 40
    assert box["x"] >= 8


@pytest.mark.parametrize(
    "path", ["/jobs", "/dead", "/tail", "/audit", "/limits", "/cron", "/batches"]
)
def test_the_first_row_stands_in_the_first_half(
    phone: Page, site: Site, path: str
) -> None:
    """The fields of a filter took a row each, so that a list began below."""
    phone.set_extra_http_headers(dict(site.headers["admin"]))
    phone.goto(site.url(path))

    box = phone.locator("tbody tr").first.bounding_box()

    assert box is not None
    assert box["y"] <= HEIGHT / 2
