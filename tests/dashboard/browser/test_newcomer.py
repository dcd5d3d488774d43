"""A newcomer's path: from an address to a mended cause and a drained queue.

A person walks by what the pages say: in the demo, in an application under gunicorn
behind a proxy with a prefix, and under ``flask run``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Locator, Page, expect

from flask_forge_jobs import ForgeJobs
from flask_forge_jobs.auth.tokens import new_token
from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.demo import scenery
from flask_forge_jobs.state import state_of
from tests.support.browser import LIMIT_MS, complaints_of, tab
from tests.support.databases import sqlite_url
from tests.support.programs import Program, environment, gunicorn, running, script
from tests.support.stripping import stripping

_ADDRESS = re.compile(r"^ +(http://\S+)$")
_LOOK_MS = 500


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A person in front of a page, which refreshes itself only with script."""

    page: Page
    has_script: bool = True

    def walk(self, address: str) -> None:
        """Find a failing job and its cause, mend it, retry all, and see it drain."""
        page = self.page
        complaints = complaints_of(page)
        page.goto(address)
        expect(page.locator("h1")).to_contain_text("things need you")
        address = page.url
        self._read_a_failing_job()
        all_that_failed = page.get_by_role("link", name=re.compile(r"Show \d+ jobs"))
        there = str(all_that_failed.get_attribute("href"))
        self._mend_the_cause()
        page.goto(address + there.removeprefix("../"))
        self._retry_all()
        self._follow("Overview")
        self._see(
            page.get_by_role("row", name=re.compile("^ledger ")),
            re.compile(r"Live\s+0\s"),
        )
        self._see(page.locator("#queues"), "Live")
        # A page without script shows the last of them until it is loaded again.
        self._see(page.locator("#attention"), re.compile(r"^(?![\s\S]*close_order)"))
        assert complaints == []

    def _read_a_failing_job(self) -> None:
        page = self.page
        self._follow("Dead")
        page.locator("#rows").get_by_role("link", name="close_order").first.click()
        beside = page.locator("dialog")
        expect(beside).to_contain_text("in _check_entry")
        beside.get_by_role("link", name="Open its page").click()
        error = page.locator("section", has_text="Error of attempt 1")
        expect(error).to_contain_text("in _check_entry")
        log = page.locator("section", has_text="lines of attempt 1")
        expect(log).to_contain_text("order ")
        expect(log).to_contain_text("the queue ledger is paused, so nothing writes")

    def _mend_the_cause(self) -> None:
        self._follow("Queues")
        ledger = self.page.get_by_role("row", name=re.compile("^ledger "))
        expect(ledger).to_contain_text("month-end closing, takes ten minutes")
        ledger.get_by_role("button", name="Resume").click()
        expect(self.page.get_by_text("ledger is resumed.")).to_be_visible()
        self._see(ledger, "Live")

    def _retry_all(self) -> None:
        page = self.page
        page.get_by_role("link", name=re.compile(r"Select all \d+")).click()
        page.locator("#bulk").get_by_role("link", name=re.compile("Retry")).click()
        question = page.get_by_role("dialog")
        expect(question).to_contain_text("LedgerEntryMissingError")
        question.get_by_role("button", name=re.compile(r"Retry \d+")).click()
        expect(page.get_by_text(re.compile(r"\d+ jobs? .*retried"))).to_be_visible()

    def _follow(self, name: str) -> None:
        self.page.locator("#pages").get_by_role("link", name=name).click()
        expect(self.page.locator("#pages [aria-current]")).to_contain_text(name)

    def _see(self, place: Locator, text: str | re.Pattern[str]) -> None:
        """Wait for a text; without script, load the page again and again."""
        if self.has_script:
            expect(place).to_contain_text(text)
            return
        for _ in range(LIMIT_MS // _LOOK_MS):
            if re.search(text, place.inner_text()):
                return
            self.page.wait_for_timeout(_LOOK_MS)
            self.page.reload()
        raise AssertionError(f"{text} is not in {place.inner_text()}")


APPLICATION = """
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_forge_jobs.demo import shop

def create_app():
    app = Flask("shop")
    app.config.from_prefixed_env()
    app.secret_key = "of the tests"
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)
    shop.forge.init_app(app)
    return app
"""


@contextmanager
def shop(folder: Path) -> Iterator[tuple[Path, str]]:
    """Write an application whose database has the past of the demo."""
    application = folder / "shop_application.py"
    application.write_text(APPLICATION, "utf-8")
    url = sqlite_url(folder / "queue.sqlite")
    app = Flask("shop")
    app.config["FORGE_JOBS_DATABASE_URL"] = url
    ForgeJobs(app)
    with closing(state_of(app).storage) as storage:
        storage.open()
        scenery.prepare(app, SystemClock().now_us())
    yield application, url


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """Start the demo, and yield the address that it prints."""
    environ = {
        "PATH": "/usr/bin:/bin",
        "JOBS_API_BIND": "127.0.0.1:0",
        "PYTHONUNBUFFERED": "1",
        "WEB_CONCURRENCY": "1",  # as in test_server
    }
    program = Program(
        [script("forge-jobs-server"), "--demo"], environ=environ, folder=folder
    )
    try:
        address = program.match(_ADDRESS)[1]
        program.wait_for(" serves ", 2)
        yield address
        program.stop()
    finally:
        program.end()


@pytest.mark.long
def test_a_newcomer_mends_an_application_behind_a_proxy(
    browser: Browser, tmp_path: Path
) -> None:
    token, digest = new_token("ada")
    tokens = json.dumps([{"id": "ada", "sha256": digest, "role": "admin"}])
    queues = ",".join(scenery.QUEUES)
    with ExitStack() as stack:
        application, url = stack.enter_context(shop(tmp_path))
        factory = f"--app={application}:create_app"
        work = [script("flask"), factory, "forge-jobs", "worker", f"--queues={queues}"]
        environ = environment(url, FLASK_FORGE_JOBS_TOKENS=tokens)
        worker = running(work, environ=environ, folder=tmp_path)
        stack.enter_context(worker).wait_for(" serves ")
        served = gunicorn(
            application, url, tmp_path, "--workers=2", FLASK_FORGE_JOBS_TOKENS=tokens
        )
        port = stack.enter_context(served).port()
        proxy = stack.enter_context(stripping("/shop", port, says_so=True))
        page = stack.enter_context(tab(browser))

        page.goto(f"http://127.0.0.1:{proxy}/shop/forge-jobs/sign-in")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        Newcomer(page).walk(f"http://127.0.0.1:{proxy}/shop/forge-jobs/")


@pytest.mark.long
def test_a_newcomer_mends_an_application_under_flask_run(
    browser: Browser, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        application, url = stack.enter_context(shop(tmp_path))
        factory = f"--app={application}:create_app"
        command = [
            script("flask"),
            factory,
            "run",
            "--debug",
            "--no-reload",
            "--port=0",
        ]
        program = running(command, environ=environment(url), folder=tmp_path)
        address = stack.enter_context(program).match(r"Running on (http://\S+)")[1]
        page = stack.enter_context(tab(browser))

        Newcomer(page).walk(f"{address}/forge-jobs/")


@pytest.mark.long
@pytest.mark.parametrize("with_script", [True, False], ids=["script", "no-script"])
def test_a_newcomer_mends_the_demo(
    browser: Browser, tmp_path: Path, *, with_script: bool
) -> None:
    with (
        demo(tmp_path) as address,
        tab(browser, java_script_enabled=with_script) as page,
    ):
        Newcomer(page, with_script).walk(address)
