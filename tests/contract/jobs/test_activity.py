"""What happened to jobs, told from their rows."""

from __future__ import annotations

import random
from typing import Any

import pytest

from flask_forge_jobs.model.activity import Event, EventType
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import JobFilter, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs import activity
from tests.support.jobs import QUEUE, claim_one, enqueue, finish, run
from tests.support.sql import Sql

# Of the ids of the first 1,000 numbers these two alone give events of one id.
TWINS = (238, 998)


def a_job_id(n: int) -> str:
    """Return an id that is the same in every run, and so are its events' ids."""
    return f"01M8EWDPQ3S8BH2BQ4D9{n:06}"


def told(events: Any) -> list[tuple[str, str]]:
    return [(event.type, event.job_id) for event in events]


def walked(storage: Storage, limit: int, **asked: Any) -> list[Event]:
    """Return all events, a page at a time."""
    found: list[Event] = []
    after = 0
    while True:
        page = storage.activity.events_after(after, limit, **asked)
        assert len(page.events) <= limit
        if not page.events:
            assert page.next == after
            return found
        found += page.events
        after = page.next


def test_a_life_is_told_in_order(storage: Storage, sql: Sql) -> None:
    job_id = enqueue(storage)
    sql.age(10)
    job = claim_one(storage)
    sql.age(10)
    before = storage.activity.latest_events(10)
    finish(storage, job, Done())
    sql.age(10)

    after = storage.activity.events_after(before.next, 10)

    assert told(before.events) == [("enqueued", job_id), ("started", job_id)]
    assert before.events[0].queue_name == QUEUE
    assert before.events[0].kind == "noop"
    assert told(after.events) == [("completed", job_id)]
    assert after.next == after.events[-1].id


def test_only_an_end_without_success_is_a_failure(storage: Storage, sql: Sql) -> None:
    dead, retried = enqueue(storage), enqueue(storage)
    run(storage, Dead("no"))
    run(storage, Failed("no"))
    sql.age(10)

    events = storage.activity.latest_events(10).events

    assert sorted(told(events)) == sorted(
        [("enqueued", dead), ("enqueued", retried), ("dead", dead)]
    )


def test_what_is_younger_than_a_second_is_not_told_yet(
    storage: Storage, sql: Sql
) -> None:
    """A commit may come after the instant that it carries."""
    sql.seed(3, due_in_s=60)
    sql.run("UPDATE forge_job SET enqueued_at = ?", sql.now_us() + 60_000_000)

    assert list(storage.activity.latest_events(10).events) == []
    assert list(storage.activity.events_after(0, 10).events) == []
    sql.age(120)
    assert len(storage.activity.latest_events(10).events) == 3
    assert len(storage.activity.events_after(0, 10).events) == 3


@pytest.fixture
def busy(storage: Storage, sql: Sql) -> int:
    """Make many events of few instants; return how many."""
    chance = random.Random(5)
    for n in range(90):
        new = NewJob(f"kind-{n % 3}", queue_name=f"q{n % 2}", job_id=a_job_id(n))
        storage.jobs.enqueue(new)
    for queue_name in ("q0", "q1"):
        for job in storage.jobs.claim(queue_name, "owner-1", 30):
            if chance.random() < 0.8:
                finish(storage, job, Done() if chance.random() < 0.7 else Dead("x"))
    now_us = sql.now_us() - 3_600_000_000
    for row in sql.run("SELECT id FROM forge_job"):
        first = now_us + chance.randrange(3) * 1_000_000 + chance.randrange(2) * 300
        sql.run(
            "UPDATE forge_job SET enqueued_at = ?, scheduled_at = ?, started_at = "
            "started_at - started_at + ?, completed_at = completed_at - completed_at "
            "+ ? WHERE id = ?",
            first, first, first + 500_000, first + 1_000_000, row[0],
        )  # fmt: skip
    ended = sql.value("SELECT COUNT(*) FROM forge_job WHERE status IN ('done', 'dead')")
    begun = sql.value("SELECT COUNT(*) FROM forge_job WHERE status = 'in_progress'")
    return 90 + int(ended) + int(begun)


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_pages_tell_each_event_once_and_in_order(
    storage: Storage, busy: int, limit: int
) -> None:
    events = walked(storage, limit)

    ids = [event.id for event in events]
    assert len(ids) == len(set(ids)) == busy
    assert ids == sorted(ids)
    latest = storage.activity.latest_events(limit).events
    assert set(latest) <= set(events)
    assert list(latest) == sorted(latest, key=lambda event: event.id)
    instants = sorted(event.at for event in events)
    assert sorted(event.at for event in latest) == instants[-limit:]


def test_no_page_ends_between_two_events_of_one_id(storage: Storage, sql: Sql) -> None:
    """Who goes on after the first of them would never be told the other."""
    numbers = (1, *TWINS, 2)
    for n in numbers:
        storage.jobs.enqueue(NewJob("noop", queue_name=QUEUE, job_id=a_job_id(n)))
    sql.run("UPDATE forge_job SET enqueued_at = ?", sql.now_us() - 3_600_000_000)

    pages, after = [], 0
    while (page := storage.activity.events_after(after, 1)).events:
        pages.append({event.job_id for event in page.events})
        after = page.next

    assert sorted(map(len, pages)) == [1, 1, 2]
    assert {a_job_id(n) for n in TWINS} in pages
    assert set().union(*pages) == {a_job_id(n) for n in numbers}


def test_events_are_told_by_type_queue_and_kind(
    storage: Storage, sql: Sql, busy: int
) -> None:
    sql.run(
        "UPDATE forge_job SET cancel_requested_at = 1"
        " WHERE status = 'dead' AND kind = 'kind-1'"
    )
    events = walked(storage, 500)
    wanted = JobFilter(queues=["q1"], kinds=["kind-1", "kind-2"])

    for kind in EventType:
        some = walked(storage, 9, types=[kind], job_filter=wanted)
        assert some == [
            event
            for event in events
            if event.type == kind
            and event.queue_name == "q1"
            and event.kind in ("kind-1", "kind-2")
        ]
        assert some
    assert len(events) == busy


@pytest.fixture
def crowded(storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> int:
    """Make jobs of one instant, more than are read at once; return the instant."""
    monkeypatch.setattr(activity, "MAX_ROWS", 20)
    monkeypatch.setattr(activity, "ROOM", 1)
    sql.seed(100, due_in_s=60)
    instant = sql.now_us() - 3_600_000_000
    sql.run("UPDATE forge_job SET enqueued_at = ?", instant)
    for later_us in (1_000, 5_000_000, 900_000_000):
        job_id = enqueue(storage)
        sql.run(
            "UPDATE forge_job SET enqueued_at = ? WHERE id = ?",
            instant + later_us, job_id,
        )  # fmt: skip
    return instant


def test_a_crowded_millisecond_is_passed(
    storage: Storage, crowded: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = count_rows(monkeypatch)

    first = storage.activity.events_after(0, 10)
    events = walked(storage, 10)

    # Of the crowd as many as one read has, then whatever comes later.
    assert len(first.events) == 10
    assert len(events) == 20 + 3
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert [to_micros(event.at) - crowded for event in events[20:]] == [
        1_000, 5_000_000, 900_000_000,
    ]  # fmt: skip
    assert max(read) <= 20


@pytest.mark.parametrize("limit", [2, 10])
def test_the_latest_events_stop_at_a_crowd(
    storage: Storage, crowded: int, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    read = count_statements(storage, monkeypatch)

    latest = storage.activity.latest_events(limit)

    assert len(latest.events) == limit
    assert to_micros(latest.events[-1].at) == crowded + 900_000_000
    assert latest.next == latest.events[-1].id
    assert len(read) == 1
    assert read[0] <= limit


def test_the_latest_events_are_found_however_long_ago_they_were(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Many ends, and a few starts and new jobs long before.
    monkeypatch.setattr(activity, "CHUNK", 2)
    for number in range(40):
        enqueue(storage, queue_name=f"q{number % 4}")
        run(storage, Dead("x") if number % 3 else Done(), queue_name=f"q{number % 4}")
    job_id = enqueue(storage)
    claim_one(storage)
    now_us = sql.now_us()
    sql.run("UPDATE forge_job SET enqueued_at = ?", now_us - 86_400_000_000)
    sql.run("UPDATE forge_job SET started_at = ?", now_us - 86_400_000_000)
    for place, row in enumerate(sql.run("SELECT id FROM forge_job ORDER BY id")):
        sql.run(
            "UPDATE forge_job SET completed_at = completed_at - completed_at + ?"
            " WHERE id = ?", now_us - 5_000_000 * (place + 1), row[0],
        )  # fmt: skip
    read = count_statements(storage, monkeypatch)

    latest = storage.activity.latest_events(9).events
    everything = storage.activity.latest_events(500).events

    assert [event.type in ("dead", "completed") for event in latest] == [True] * 9
    assert list(latest) == list(everything[-9:])
    assert len(everything) == 40 + 41 + 1
    assert ("started", job_id) in told(everything)
    assert len(read) == 2


def count_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of how many rows each read of events has brought."""
    counts: list[int] = []
    whole = activity._Tail._read

    def read(tail: Any, start: int, end: int, most: int) -> Any:
        events, is_all = whole(tail, start, end, most)
        counts.append(len(events))
        return events, is_all

    monkeypatch.setattr(activity._Tail, "_read", read)
    return counts


def count_statements(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list of how many rows each statement has brought."""
    counts: list[int] = []
    transaction: Any = storage.database.read(type)
    whole = transaction.all

    def read(self: Any, name: str, /, **parameters: Any) -> Any:
        rows = whole(self, name, **parameters)
        counts.append(len(rows))
        return rows

    monkeypatch.setattr(transaction, "all", read)
    return counts


# -- ends -------------------------------------------------------------------------


def test_ends_are_counted_within_a_time(storage: Storage, sql: Sql) -> None:
    for queue_name in ("a", "b"):
        enqueue(storage, queue_name=queue_name)
        run(storage, Dead("no"), queue_name=queue_name)
    sql.age(500)
    enqueue(storage, queue_name="a")
    run(storage, Dead("no"), queue_name="a")
    enqueue(storage, queue_name="a")
    run(storage, Done(), queue_name="a")

    ended = storage.activity.ended_within

    assert ended(JobStatus.DEAD, 400, ["a", "b"]) == {"a": 1, "b": 0}
    assert ended(JobStatus.DEAD, 900, ["a", "b"]) == {"a": 2, "b": 1}
    assert ended(JobStatus.DONE, 900, ["a"]) == {"a": 1}
    assert ended(JobStatus.DEAD, 900, []) == {}
