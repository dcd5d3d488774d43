"""The reads of a page: kept for a while, and few at each refresh."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import pytest
from flask import Flask

from flask_forge_jobs.dashboard.reads import MAX_RENEWED, Part, Reads, needed_by
from flask_forge_jobs.handlers.snapshots import Snapshots
from tests.support.clocks import MovingClock

NAMES = ("a", "b", "c", "d", "e")


class Page:
    """A page with five reads, refreshed by a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = MovingClock()
        self.snapshots = Snapshots(self.clock)
        self.read: Counter[str] = Counter()

    def show(self, needed: Collection[str] | None) -> None:
        """Show some parts, or open the page."""
        reads = Reads(
            self.snapshots, "page", {name: self._part(name) for name in NAMES}, needed
        )
        for name in NAMES if needed is None else needed:
            reads[name]

    def _part(self, name: str) -> Part:
        def read() -> None:
            self.read[name] += 1

        return Part(read, kept_s=10.0 if name in "de" else 1.0)


def test_a_page_that_is_opened_reads_what_is_due() -> None:
    page = Page()

    page.show(None)
    page.show(None)
    page.clock.move(2)
    page.show(None)

    assert page.read == {"a": 2, "b": 2, "c": 2, "d": 1, "e": 1}


def test_a_refresh_reads_few_parts_and_none_waits_for_ever() -> None:
    page = Page()
    page.show(None)

    for _ in range(12):
        page.clock.move(5)
        before = page.read.total()
        page.show(NAMES)
        assert page.read.total() - before <= MAX_RENEWED

    assert min(page.read.values()) >= 3


def test_a_refresh_reads_what_was_never_read() -> None:
    page = Page()

    page.show(["c"])

    assert page.read == {"c": 1}


@pytest.mark.parametrize(
    ("query", "parts"),
    [("", None), ("?only=x,z,other", {"a", "b"}), ("?only=", set())],
)
def test_the_blocks_of_a_refresh_say_what_it_needs(
    query: str, parts: set[str] | None
) -> None:
    blocks = {"x": ("a",), "y": ("c",), "z": ("a", "b")}

    with Flask("host").test_request_context(f"/{query}"):
        assert needed_by(blocks) == parts
