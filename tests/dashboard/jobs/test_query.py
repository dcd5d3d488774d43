"""The state of a list in its address: read, checked, and written again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from werkzeug.datastructures import MultiDict

from flask_forge_jobs.dashboard.jobs.listings import (
    DEAD_JOBS,
    JOBS,
    SCHEDULED_JOBS,
    Listing,
)
from flask_forge_jobs.dashboard.jobs.query import JobQuery, query_of
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobStatus

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ADDRESSES = (
    "",
    "status=failed&status=dead&queue=mail&queue=a%26b&kind=send",
    "error=time+out&q=card&signature=abc&cron=nightly&dedupe_key=k&min_attempts=3",
    "ending=cancelled",
    "batch=01KB9V6W3E5Q8Y4N2M7T6R1W0X&waiting=1",
    "last=24h&sort=-attempts&per=25&col=error&col=priority",
    "from=2026-11-01T00%3A00%3A00Z&to=2026-11-02T00%3A00%3A00Z",
    "after=1764512345678901.01KB0000000000000000000000&at=50",
    "before=-7.a+%26+b%0A",
)


def read(text: str, listing: Listing = JOBS) -> JobQuery:
    return query_of(listing, MultiDict(parse_qsl(text, keep_blank_values=True)))


@pytest.mark.parametrize("name", ["queue", "kind"])
def test_an_address_has_few_names(name: str) -> None:
    """The page has a link without each of them."""
    query = read("&".join(f"{name}=n{number}" for number in range(900)))

    assert query.address().count(f"{name}=") == 40


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    address = read(text).address()

    assert address == (f"jobs?{text}" if text else "jobs")
    assert read(address.partition("?")[2]) == read(text)


@pytest.mark.parametrize(
    "text",
    [
        "colour=red",
        "status=lost&queue=&kind=++&per=51&sort=kind&sort=-&col=payload",
        "q=x&error=a&min_attempts=0&min_attempts=-1&ending=tired",
        f"min_attempts=99999&dedupe_key={'k' * 300}&queue={'q' * 300}",
        "min_attempts=%C2%B2&signature=&cron=",
        "last=0h&last=24&from=yesterday&to=31.12.2026",
        "from=2026-11-02&to=2026-11-01",
        "from=0001-01-01T00:00:00%2B14:00",
        "after=here&before=1764512345678901&at=-1",
        "after=9999999999999999999.id",
        "sort=completed_at&sort=scheduled_at",
        "only=rows&ask=delete&all=1&id=1",
        "batch=7&waiting=yes",
    ],
)
def test_what_is_unknown_or_invalid_leaves_the_links(text: str) -> None:
    query = read(text)

    assert query == JobQuery(JOBS, sort="-enqueued_at")
    assert query.address() == "jobs"


@pytest.mark.parametrize("word", ["running", "In progress", "in_progress"])
def test_a_state_has_its_name_on_the_page_and_that_of_the_api(word: str) -> None:
    assert read(f"status={word}").statuses == ("in_progress",)


def test_the_states_of_a_list_are_not_a_choice() -> None:
    query = read("status=done", DEAD_JOBS)

    assert query.chosen_statuses == ("dead",)
    assert query.address() == "dead"
    assert not query.is_filtered


@pytest.mark.parametrize(
    ("listing", "text", "sort"),
    [
        (JOBS, "sort=scheduled_at", "-enqueued_at"),
        (JOBS, "sort=scheduled_at&status=failed", "scheduled_at"),
        (JOBS, "sort=-completed_at&status=failed&status=dead", "-enqueued_at"),
        (SCHEDULED_JOBS, "", "scheduled_at"),
        (SCHEDULED_JOBS, "sort=-completed_at", "scheduled_at"),
        (DEAD_JOBS, "sort=completed_at", "completed_at"),
    ],
)
def test_a_list_is_sorted_only_by_columns_that_all_its_jobs_have(
    listing: Listing, text: str, sort: str
) -> None:
    assert read(text, listing).sort == sort


def test_the_filter_is_that_of_the_api() -> None:
    job_filter = read(
        "status=scheduled&status=dead&queue=mail&kind=send&error=out&q=card"
        "&signature=s&cron=nightly&dedupe_key=k&min_attempts=3&ending=cancelled"
        "&batch=01KB9V6W3E5Q8Y4N2M7T6R1W0X&waiting=1"
        "&from=2026-11-30T08:00&to=2026-11-30T13:00%2B01:00"
    ).job_filter(NOW)

    shown: dict[str, Any] = {
        name: getattr(job_filter, name) for name in job_filter.__slots__
    }
    assert shown == {
        "queues": ("mail",),
        "kinds": ("send",),
        "statuses": (JobStatus.DEAD,),
        "scheduled": True,
        "enqueued_from": NOW - timedelta(hours=4),
        "enqueued_to": NOW,
        "payload_search": "card",
        "error_search": "out",
        "dedupe_key": "k",
        "slot_id": None,
        "schedule_name": "nightly",
        "min_attempts": 3,
        "batch_id": "01KB9V6W3E5Q8Y4N2M7T6R1W0X",
        "is_waiting": True,
        "ending": Ending.CANCELLED,
        "signature": "s",
    }


def test_a_relative_range_ends_now() -> None:
    job_filter = read("last=90m").job_filter(NOW)

    assert job_filter.enqueued_from == NOW - timedelta(minutes=90)
    assert job_filter.enqueued_to is None


def test_two_ends_replace_a_relative_range() -> None:
    assert read("last=24h&from=2026-11-01").last is None


def test_a_change_leads_to_the_first_page() -> None:
    query = read("queue=mail&after=5.id&at=50")

    assert query.address(kinds=("send",)) == "jobs?queue=mail&kind=send"
    assert query.address(place=query.place, columns=("error",)) == (
        "jobs?queue=mail&col=error&after=5.id&at=50"
    )


@pytest.mark.parametrize(
    ("name", "value", "address"),
    [
        ("status", "dead", "jobs?queue=a&queue=b&kind=k&error=out&last=24h"),
        ("queue", "a", "jobs?status=dead&queue=b&kind=k&error=out&last=24h"),
        ("kind", "k", "jobs?status=dead&queue=a&queue=b&error=out&last=24h"),
        ("error", None, "jobs?status=dead&queue=a&queue=b&kind=k&last=24h"),
        ("range", None, "jobs?status=dead&queue=a&queue=b&kind=k&error=out"),
    ],
)
def test_each_condition_can_be_removed(
    name: str, value: str | None, address: str
) -> None:
    query = read("status=dead&queue=a&queue=b&kind=k&error=out&last=24h")

    assert query.without(name, value) == address
    assert query.is_filtered
