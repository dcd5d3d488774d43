"""The script's core: refresh in place, pauses, faults, keys, theme; P-11 to P-14.

The browser's clock stands still until a test moves it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from flask_forge_jobs.model.jobs import NewJob
from tests.dashboard.browser.sites import INSIDE, Site, running_site
from tests.support.browser import complaints_of, tab
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose tests add jobs."""
    with running_site(tmp_path_factory.mktemp("site")) as made:
        made.storage.open()
        made.storage.workers.beat("worker-1", None, ["mail"], [])
        made.storage.jobs.enqueue_many([NewJob("send", queue_name="mail")] * 3)
        yield made


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The list of jobs, open for an admin."""
    with tab(browser, extra_http_headers=site.headers["admin"]) as opened:
        opened.clock.install()
        opened.goto(site.url("/jobs") + "?status=pending")
        site.asked.clear()
        yield opened


def refreshes(site: Site) -> int:
    """Return how often a page has been asked for since the test began."""
    return site.asked.count(f"/tools{INSIDE}/jobs") + site.asked.count(f"{INSIDE}/jobs")


def test_a_refresh_changes_what_has_changed_and_nothing_else(
    page: Page, site: Site
) -> None:
    complaints = complaints_of(page)
    waiting = page.locator("#state")
    link = page.locator("#pages a[data-key=j]")
    link.focus()
    page.evaluate("document.querySelector('#pages').marked = 1")
    before = int(waiting.locator("b").first.inner_text().replace(",", ""))
    site.storage.jobs.enqueue(NewJob("send", queue_name="mail"))

    page.clock.run_for(6_000)

    expect(waiting).to_contain_text(f"{before + 1:,} waiting")
    expect(link).to_be_focused()
    assert page.evaluate("document.querySelector('#pages').marked") == 1
    # What did not change costs no body.
    with page.expect_response(lambda answer: "only=" in answer.url) as answered:
        page.clock.run_for(6_000)
    assert answered.value.status in {200, 304}
    assert complaints == []


def test_D24_times_have_a_date_and_go_on_without_a_request(
    page: Page, site: Site
) -> None:
    page.keyboard.press("p")
    time = page.locator("#rows time").first
    expect(time).to_have_attribute("title", re.compile(r"^\d{4}-\d\d-\d\d .* UTC$"))
    site.asked.clear()

    page.clock.run_for(121_000)
    expect(time).to_have_text(re.compile(r"^[23]m ago$"))
    page.clock.fast_forward(2 * 86_400_000)
    expect(time).to_have_text("2d ago")
    assert refreshes(site) == 0


def test_P11_no_request_while_paused_hidden_or_in_use(page: Page, site: Site) -> None:
    why = page.locator("#live")

    page.keyboard.press("p")
    page.clock.run_for(120_000)
    expect(why).to_have_attribute("title", "paused: by you")
    assert refreshes(site) == 0
    with page.expect_response(lambda answer: "only=" in answer.url):
        page.keyboard.press("p")
    site.asked.clear()

    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true})"
    )
    page.clock.run_for(120_000)
    expect(why).to_have_attribute("title", "paused: hidden")
    # The clock goes on, so that each reason begins before the one before it ends.
    page.locator("#rows [name=_id]").first.check()
    page.evaluate("delete document.hidden")

    page.clock.run_for(120_000)
    expect(why).to_have_attribute("title", "paused: rows are selected")
    page.evaluate(
        "document.querySelector('#rows [name=_id]').click();"
        "document.querySelector('main input.in').focus()"
    )

    page.clock.run_for(120_000)
    expect(why).to_have_attribute("title", "paused: a field has the focus")
    assert refreshes(site) == 0
    page.evaluate("document.activeElement.blur()")
    with page.expect_response(lambda answer: "only=" in answer.url):
        page.clock.run_for(6_000)


def test_P12_a_fault_is_told_and_passes(page: Page) -> None:
    tried = []

    def refuse(route: Route) -> None:
        tried.append(route.request.url)
        route.abort()

    page.route("**/jobs?*only=*", refuse)
    bar = page.locator("#messages .bar-msg")
    field = page.locator("main input.in").first
    field.fill("queue:mail")
    field.evaluate("e => e.blur()")

    page.clock.run_for(6_000)
    expect(bar).to_contain_text("The server does not answer.")
    page.clock.run_for(60_000)
    expect(bar).to_have_count(1)
    # At intervals of 10, 20, 40 and 60 seconds, not at each of 5, which makes 13. The
    # clock of the page also goes on by itself.
    assert len(tried) <= 7
    page.unroute("**/jobs?*only=*")

    # A refusal that the page has not seen yet makes it wait once more.
    def is_over() -> bool:
        page.clock.run_for(10_000)
        return bar.count() == 0

    wait_until(is_over, "the page asks again")
    expect(field).to_have_value("queue:mail")


def test_P13_D09_a_newer_request_ends_the_older(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/jobs?*only=*", hold)
    with page.expect_request(lambda asked: "only=" in asked.url):
        page.keyboard.press("r")
    with page.expect_event("requestfailed") as ended:
        page.keyboard.press("r")
    assert ended.value == held[0].request
    expect(page.locator("#messages .bar-msg")).to_have_count(0)

    page.wait_for_function("true")
    held[1].fulfill(body='<ul id="state">new</ul>', content_type="text/html")
    expect(page.locator("#state")).to_have_text("new")


def test_a_caller_who_is_signed_out_reads_so(page: Page) -> None:
    page.route("**/jobs?*only=*", lambda route: route.fulfill(status=401, body=""))
    page.clock.run_for(6_000)

    expect(page.locator("#messages")).to_contain_text("You are signed out.")


def test_keys_go_to_pages_and_open_their_list(page: Page, site: Site) -> None:
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next row")
    page.get_by_label("Keys are on").uncheck()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)

    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") is None
    page.keyboard.press("?")
    page.get_by_label("Keys are on").check()
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")

    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#rows tr[aria-current] [type=checkbox]")).to_be_checked()
    page.keyboard.press("x")
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.wait_for_url(site.url("/"))
    # Before the first paint: the server has written it.
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_P08_theme_and_refresh_without_script(browser: Browser, site: Site) -> None:
    headers = site.headers["viewer"]
    with tab(browser, extra_http_headers=headers, java_script_enabled=False) as page:
        page.goto(site.url("/jobs") + "?status=done")
        page.locator("#live select").select_option("30")
        page.locator("#live button").click()
        page.wait_for_url("**/jobs?status=done")
        expect(page.locator("#live select")).to_have_value("30")
        page.locator("[name=theme]").click()
        page.wait_for_url("**/jobs?status=done")
        expect(page.locator("html")).to_have_attribute("data-theme", "light")
        page.locator(".user summary").click()
        page.locator("#help").click()
        expect(page.get_by_role("dialog")).to_contain_text("next row")


def test_a_form_is_sent_in_place_and_says_what_it_did(page: Page, site: Site) -> None:
    """P-14, with the first row's own page of actions."""
    job = site.storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    page.route(
        "**/do/post/**",
        lambda route: route.fulfill(
            status=409, json={"kind": "conflict", "msg": "it runs"},
            headers={"X-Request-Id": "r1", "Content-Type": "application/json"},
        ),
    )  # fmt: skip
    assert job
    page.evaluate("""() => {
      const form = document.createElement("form");
      form.method = "post";
      form.setAttribute("action", "./do/post/v1/jobs/x/retry");
      form.innerHTML = '<input name="_back" value="jobs"><button id="send">Go</button>';
      document.querySelector("main").append(form);
    }""")

    page.locator("#send").click()

    bar = page.locator("#messages .bar-msg")
    expect(bar).to_have_text("Nothing was changed: it runs. Request r1.Close")
    expect(bar).to_be_focused()
    expect(page.locator("#send")).to_be_enabled()
