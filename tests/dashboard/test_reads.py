"""The reads of a page: kept for a while, and few at each refresh."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from flask import Flask

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.dashboard.reads import (
    MAX_RENEWED,
    Part,
    Reads,
    needed_by,
    read_beside_report,
    report_of,
)
from flask_forge_jobs.errors import (
    MigrationError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.handlers.attention.cache import Attention
from flask_forge_jobs.handlers.snapshots import Snapshots
from flask_forge_jobs.storage.attention import AttentionReader
from flask_forge_jobs.storage.base import open_storage
from tests.support.clocks import MovingClock

STORAGE = open_storage(DatabaseSettings())
NAMES = ("a", "b", "c", "d", "e")


class Page:
    """A page with five reads, refreshed by a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = MovingClock()
        self.snapshots = Snapshots(STORAGE.database, self.clock)
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


def away() -> NoReturn:
    raise StorageUnavailableError("away")


def has_read(attention: Attention, read: Callable[[], object]) -> bool:
    """Read beside the report; return False if the page is to say that it is away."""
    api: Any = SimpleNamespace(
        attention=attention, storage=open_storage(DatabaseSettings()),
        scope=SimpleNamespace(queues=None),
    )  # fmt: skip
    seen: list[object] = []
    with Flask("host").app_context():
        read_beside_report(api, lambda: seen.append(read()))
    return bool(seen)


def test_a_page_is_read_beside_the_report() -> None:
    assert has_read(Attention(Snapshots(STORAGE.database)), lambda: 1)


def test_an_error_of_the_page_alone_is_its_own() -> None:
    with pytest.raises(StorageUnavailableError):
        has_read(Attention(Snapshots(STORAGE.database)), away)


@pytest.mark.parametrize(
    "error", [StorageUnavailableError("away"), MigrationError(1, "")]
)
def test_a_page_without_a_report_says_so_itself(
    monkeypatch: pytest.MonkeyPatch, error: StorageError
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(AttentionReader, "facts", fail)

    assert not has_read(Attention(Snapshots(STORAGE.database)), away)


def test_all_parts_of_a_page_have_one_report() -> None:
    """It is read again within a second, so a slow page showed two."""
    api: Any = SimpleNamespace(
        attention=SimpleNamespace(report=lambda *_: object()),
        storage=None, scope=SimpleNamespace(queues=None),
    )  # fmt: skip
    host = Flask("host")

    with host.app_context():
        first, again = report_of(api), report_of(api)
    with host.app_context():
        other = report_of(api)

    assert first is again
    assert other is not first
