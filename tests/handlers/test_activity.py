from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.activity import list_events, stats
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.model.outcomes import Dead, Done, Throttled
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import claim_one, enqueue, enqueue_in, run
from tests.support.sql import Sql

ASKED: dict[str, Any] = {"after": None, "types": (), "limit": 10}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"after": -1}, "after"),
        ({"after": 2**63}, "after"),
        ({"types": ["enqueued", "retried"]}, "type"),
        ({"job_filter": JobFilter(queues=[""])}, "queue"),
        ({"job_filter": JobFilter(kinds=["\x00"])}, "kind"),
    ],
)
def test_what_is_out_of_bounds_is_named(
    storage: Storage, asked: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        list_events(storage, **({"job_filter": JobFilter()} | ASKED | asked))
    assert caught.value.field == field


def test_events_follow_one_another(storage: Storage, sql: Sql) -> None:
    enqueue(storage)
    sql.age(5)
    first = list_events(storage, JobFilter(), **ASKED)
    enqueue(storage)
    sql.age(5)

    # The first event has moved into the past as well, by an hour of the test's own.
    then = list_events(storage, JobFilter(), **(ASKED | {"after": 0, "limit": 1}))
    rest = list_events(storage, JobFilter(), **(ASKED | {"after": then.next}))

    assert [len(page.events) for page in (first, then, rest)] == [1, 1, 1]
    assert then.events[0].job_id == first.events[0].job_id
    assert rest.events[0].job_id != first.events[0].job_id


def test_totals_of_nothing_are_nothing(storage: Storage, sql: Sql) -> None:
    now = from_micros(sql.now_us())

    found = stats(storage, now)

    assert found.counts == QueueCounts()
    assert (found.queues, found.workers_live, found.max_lag_seconds) == (0, 0, 0)
    assert (found.dead_last_24h, found.at) == (0, now)
    for names in (
        found.paused_queues,
        found.throttled_queues,
        found.unassigned_queues,
        found.orphan_queues,
    ):
        assert list(names) == []


def test_totals_are_over_all_queues(storage: Storage, sql: Sql) -> None:
    for queue_name in ("a", "b"):
        enqueue(storage, queue_name=queue_name)
        run(storage, Dead("no"), queue_name=queue_name)
    sql.age(90_000)
    enqueue(storage, queue_name="b")
    run(storage, Dead("no"), queue_name="b")
    enqueue(storage, queue_name="a")
    run(storage, Done(), queue_name="a")
    enqueue(storage, queue_name="a")
    claim_one(storage, queue_name="a")
    sql.age(100)
    enqueue(storage, queue_name="b")
    sql.age(50)
    enqueue_in(storage, sql, 600, queue_name="c")

    found = stats(storage, from_micros(sql.now_us()))

    assert found.counts == QueueCounts(
        pending=1, scheduled=1, in_progress=1, done=1, dead=3
    )
    assert found.queues == 3
    assert found.dead_last_24h == 1
    assert found.max_lag_seconds == pytest.approx(50, abs=30)


def test_queues_in_trouble_are_named(storage: Storage, sql: Sql) -> None:
    for name in ("paused", "slow", "served"):
        storage.queues.ensure(name)
    storage.queues.change("paused", {"paused": True})
    enqueue(storage, queue_name="slow")
    run(storage, Throttled(900), queue_name="slow")
    enqueue(storage, queue_name="orphan")
    sql.run("DELETE FROM forge_queue WHERE name = 'orphan'")
    storage.workers.beat("host", None, ["served"], [SlotReport("p", "served")])
    now = from_micros(sql.now_us())

    found = stats(storage, now)

    assert list(found.paused_queues) == ["paused"]
    assert list(found.throttled_queues) == ["slow"]
    assert "slow" in found.unassigned_queues
    assert "served" not in found.unassigned_queues
    assert list(found.orphan_queues) == ["orphan"]
    assert found.workers_live == 1
    astray = stats(storage, now + timedelta(days=1))  # the clock of another host
    assert list(astray.throttled_queues) == ["slow"]
    sql.age(3600)
    later = stats(storage, now)
    assert list(later.throttled_queues) == []
    assert later.workers_live == 0


def test_totals_can_be_those_of_some_queues(storage: Storage) -> None:
    for name in ("a", "b"):
        enqueue(storage, queue_name=name)
        storage.queues.change(name, {"paused": True})
    storage.workers.beat("host", None, ["b"], [SlotReport("p", "b")])
    now = from_micros(0)

    one, other = stats(storage, now, ["a"]), stats(storage, now, ["b"])

    assert (one.queues, one.counts.pending) == (1, 1)
    assert list(one.paused_queues) == list(one.unassigned_queues) == ["a"]
    assert (one.workers_live, other.workers_live) == (0, 1)
