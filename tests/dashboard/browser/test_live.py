"""A page over an event stream: a change without a reload, and a fault that passes."""

from __future__ import annotations

from pathlib import Path

from flask import Response
from playwright.sync_api import Browser, Request, expect

from flask_forge_jobs.model.jobs import NewJob
from tests.dashboard.browser.sites import running_site
from tests.support.browser import tab


def is_stream(request: Request) -> bool:
    return "stream=" in request.url


def test_P12_a_stream_shows_changes_and_a_fault_and_goes_on(
    browser: Browser, tmp_path: Path
) -> None:
    with running_site(tmp_path, dashboard_streams=2) as site:
        site.storage.open()
        broken: list[bool] = []
        site.app.before_request(lambda: Response(status=503) if broken else None)
        with tab(browser, extra_http_headers=site.headers["admin"]) as page:
            page.context.add_cookies(
                [{"name": "forge_jobs_refresh", "value": "2", "url": site.url()}]
            )
            waiting, bar = page.locator("#state"), page.locator("#messages .bar-msg")
            polls: list[str] = []
            with page.expect_request(is_stream):
                page.goto(site.url("/jobs"))
            page.on("request", lambda each: polls.append(each.url))

            site.storage.jobs.enqueue(NewJob("send", queue_name="mail"))
            expect(waiting).to_contain_text("1 waiting")
            assert polls == []

            broken.append(True)
            expect(bar).to_contain_text("The server does not answer.")
            site.storage.jobs.enqueue(NewJob("send", queue_name="mail"))
            broken.clear()
            with page.expect_request(is_stream):
                page.get_by_role("button", name="Try now").click()
            expect(bar).to_have_count(0)
            expect(waiting).to_contain_text("2 waiting")

            # A hidden page has none.
            with page.expect_event("requestfailed", is_stream):
                page.evaluate(
                    "Object.defineProperty(document, 'hidden', {value: true});"
                    "document.dispatchEvent(new Event('visibilitychange',"
                    "  {bubbles: true}))"
                )
