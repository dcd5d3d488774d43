"""The tail of events, through the real application."""

from __future__ import annotations

import pytest

from flask_forge_jobs.dashboard.pages import tail as module
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.storage.base import Storage
from tests.dashboard.pages.test_queues import page_of
from tests.support.jobs import run
from tests.support.sql import Sql


def kinds(storage: Storage, path: str = "/tail", **more: object) -> list[str]:
    """Return the kinds of the events that a page shows, in order."""
    rows = page_of(storage, path, **more).find("#events").all("tr")[1:]  # type: ignore[arg-type]
    return [row.all("td")[3].text for row in rows]


def fill(storage: Storage, sql: Sql) -> None:
    storage.jobs.enqueue(NewJob("old", queue_name="mail"))
    sql.age(5)
    storage.jobs.enqueue(NewJob("new", queue_name="bulk"))
    sql.age(5)


def test_the_newest_event_stands_on_top(storage: Storage, sql: Sql) -> None:
    assert kinds(storage) == []
    assert "No event yet" in page_of(storage, "/tail").text
    fill(storage, sql)

    assert kinds(storage) == ["new", "old"]


def test_events_are_filtered(storage: Storage, sql: Sql) -> None:
    fill(storage, sql)

    assert kinds(storage, "/tail?queue_name=mail") == ["old"]
    assert kinds(storage, "/tail?kind=new") == ["new"]
    assert kinds(storage, "/tail?type=enqueued") == ["new", "old"]
    assert kinds(storage, "/tail?type=dead") == []
    assert kinds(storage, "/tail?type=nonsense&kind=%2F") == []
    assert "No event matches" in page_of(storage, "/tail?type=dead").text
    assert "No event matches" in page_of(storage, "/tail?kind=%2F").text


def test_a_limited_caller_sees_events_of_its_queues(storage: Storage, sql: Sql) -> None:
    fill(storage, sql)

    assert kinds(storage, queues={"mail"}) == ["old"]
    assert kinds(storage, "/tail?queue_name=bulk", queues={"mail"}) == []


def test_it_says_where_failed_attempts_with_a_retry_to_come_are(
    storage: Storage, sql: Sql
) -> None:
    """Events are of the jobs' rows, which keep none of it; an end replaces a start."""
    storage.jobs.enqueue(NewJob("send", queue_name="mail"))
    run(storage, Failed("E"), queue_name="mail")
    sql.age(2)

    page = page_of(storage, "/tail")

    assert kinds(storage) == ["send"]
    assert "Enqueued" in page.find("tbody").text
    (said,) = [each for each in page.all("p") if "as of the last refresh" in each.text]
    assert said.text.endswith(
        "A start is shown while the job runs; failed attempts that come again are in "
        "Retries."
    )
    assert said.find("a")["href"] == "./retries"


def test_a_long_tail_says_how_many_events_it_has(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(storage, sql)
    assert "The newest" not in page_of(storage, "/tail").find("#events").text
    monkeypatch.setattr(module, "MAX_LINES", 2)

    assert "The newest 2 events." in page_of(storage, "/tail").find("#events").text
