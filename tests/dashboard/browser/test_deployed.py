"""The pages of two gunicorn workers, behind a proxy that strips a prefix silently."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser

from tests.dashboard.browser.sites import every_page, filled, running_site
from tests.support.browser import complaints_of, tab
from tests.support.databases import sqlite_url
from tests.support.programs import gunicorn
from tests.support.stripping import stripping

OUTSIDE, INSIDE = "/ops", "/forge-jobs"
PANELS, LONGEST_S = 10, 1.0
APPLICATION = """
from flask import Flask
from flask_forge_jobs import ForgeJobs

def create_app():
    app = Flask("deployed")
    app.config.from_prefixed_env()
    app.secret_key = "of the tests"
    ForgeJobs(app, open_to_loopback=True)
    return app
"""


@pytest.fixture(scope="module")
def deployed(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The address behind the proxy, and a value for each placeholder."""
    folder = tmp_path_factory.mktemp("deployed")
    url = sqlite_url(folder / "queue.sqlite")
    with running_site(folder, database_url=url) as site:  # of the same secret key
        site.fill()
    with ExitStack() as stack:
        application = folder / "deployed.py"
        application.write_text(APPLICATION, "utf-8")
        server = stack.enter_context(gunicorn(application, url, folder, "--workers=2"))
        port = stack.enter_context(stripping(OUTSIDE, server.port()))
        yield f"http://127.0.0.1:{port}{OUTSIDE}{INSIDE}", site.examples


@pytest.mark.long
def test_every_page_works_behind_a_proxy_that_strips_a_prefix(
    browser: Browser, deployed: tuple[str, Mapping[str, str]]
) -> None:
    address, examples = deployed
    with tab(browser) as page:
        complaints = complaints_of(page)
        for path in every_page():
            answer = page.goto(address + filled(path, examples))
            assert answer is not None
            assert answer.status == 200, path
            assert complaints == [], path
            links = page.evaluate(
                "[...document.querySelectorAll('[href], [src], [action]')].map(each =>"
                "  each.href || each.src ||"
                "  new URL(each.getAttribute('action'), location).href)"
            )
            assert all(link.startswith(f"{address}/") for link in links), path
            assert len(links) > 3


@pytest.mark.long
def test_P18_open_panels_never_block_an_api_call(
    browser: Browser, deployed: tuple[str, Mapping[str, str]]
) -> None:
    address, _ = deployed
    waits: list[float] = []
    with ExitStack() as stack:
        pages = [stack.enter_context(tab(browser)) for _ in range(PANELS)]
        for page in pages:
            page.context.add_cookies(
                [{"name": "forge_jobs_refresh", "value": "2", "url": f"{address}/"}]
            )
            page.goto(f"{address}/")
        for page in pages:
            with page.expect_request(lambda request: "only=" in request.url):
                waits.append(_time_of_a_call(address))
        while len(waits) < 5 * PANELS:
            pages[len(waits) % PANELS].wait_for_timeout(100)
            waits.append(_time_of_a_call(address))

    assert max(waits) < LONGEST_S


def _time_of_a_call(address: str) -> float:
    before = time.monotonic()
    with urlopen(f"{address}/v1/attention") as answer:
        assert "summary" in json.load(answer)
    return time.monotonic() - before
