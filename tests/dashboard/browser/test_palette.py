"""The palette: opened by a key, found by the server, chosen by arrows."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.dashboard.browser import probes
from tests.dashboard.browser.sites import Site
from tests.support.browser import Theme, complaints_of, lent_tab, tab


@pytest.mark.parametrize(
    "theme", ["light", pytest.param("dark", marks=pytest.mark.long)]
)
def test_P09_the_palette_is_used_by_keys_alone(
    browser: Browser, site: Site, theme: Theme
) -> None:
    headers = site.headers["admin"]
    with tab(browser, theme=theme, extra_http_headers=headers) as page:
        complaints = complaints_of(page)
        page.goto(site.url("/queues/<name>"))

        page.keyboard.press("/")
        field = page.locator(".palette > input")
        hits = page.locator(".palette li")
        expect(field).to_be_focused()
        expect(hits.first).to_be_visible()
        assert probes.scan(page) == []
        field.fill("make_report")
        expect(hits).to_have_count(1)
        page.keyboard.press("Enter")
        page.wait_for_url("**/jobs?kind=make_report")

        page.keyboard.press("Control+k")
        field.fill("nightly")
        expect(hits.last).to_contain_text("nightly-")
        page.keyboard.press("ArrowDown")
        expect(hits.locator("a").first).to_be_focused()
        # A letter goes back to the field.
        page.keyboard.type("-")
        expect(field).to_have_value("nightly-")
        expect(hits.first).to_contain_text("nightly-")
        expect(field).to_be_focused()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        second = hits.locator("a").nth(1)
        expect(second).to_be_focused()
        name = second.evaluate("link => link.firstChild.data")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/cron/{name}")

        page.locator("[data-palette]").click()
        page.keyboard.press("Escape")
        expect(field).to_have_count(0)
        assert complaints == []


def test_enter_in_the_field_goes_to_a_page_and_never_acts(
    browser: Browser, site: Site
) -> None:
    with lent_tab(browser, site.headers["admin"]) as page:
        page.goto(site.url("/queues"))
        page.keyboard.press("/")
        field = page.locator(".palette > input")
        hits = page.locator(".palette li")
        field.fill("pause mail")
        expect(hits.first).to_contain_text("action")
        # A click beside the entries closes nothing.
        beside = page.locator(".palette .hits").bounding_box()
        assert beside is not None
        page.mouse.click(beside["x"] + 1, beside["y"] + 1)
        expect(field).to_be_visible()
        field.focus()
        page.keyboard.press("Enter")
        page.keyboard.press("ArrowDown")
        first = hits.first.locator("a")
        expect(first).to_be_focused()
        # One that waits for an answer takes the place of the palette.
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_have_count(1)
        expect(page.get_by_role("dialog")).to_contain_text("Reason")


def test_P13_D09_a_late_answer_to_an_older_text_is_dropped(
    browser: Browser, site: Site
) -> None:
    with lent_tab(browser, site.headers["admin"]) as page:
        page.goto(site.url("/queues"))
        page.keyboard.press("/")
        expect(page.locator(".palette li").first).to_be_visible()
        held: list[Route] = []
        page.route("**/find?*q=mail", lambda route: held.append(route))  # noqa: PLW0108  # Playwright marks it
        page.locator(".palette > input").fill("mail")
        page.locator(".palette > input").fill("make_report")
        expect(page.locator(".palette li")).to_have_count(1)

        for route in held:
            with page.expect_response("**/find?*q=mail"):
                route.continue_()
        expect(page.locator(".palette li")).to_have_count(1)
        assert held
