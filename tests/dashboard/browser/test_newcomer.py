"""A newcomer's path: from an address to a mended cause and a drained queue.

A person walks by what the pages say: in the demo, in an application under gunicorn
behind a proxy with a prefix, and under ``flask run``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import LIMIT_MS, complaints_of, tab
from tests.support.programs import Program, script

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
        expect(page.locator("#attention")).not_to_contain_text("close_order")
        assert complaints == []

    def _read_a_failing_job(self) -> None:
        page = self.page
        self._follow("Dead")
        page.locator("#rows").get_by_role("link", name="close_order").first.click()
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


@pytest.mark.parametrize(
    "with_script",
    [True, pytest.param(False, marks=pytest.mark.long)],
    ids=["script", "no-script"],
)
def test_a_newcomer_mends_the_demo(
    browser: Browser, tmp_path: Path, *, with_script: bool
) -> None:
    with (
        demo(tmp_path) as address,
        tab(browser, java_script_enabled=with_script) as page,
    ):
        Newcomer(page, with_script).walk(address)
