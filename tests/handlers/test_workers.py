from __future__ import annotations

import pytest

from flask_forge_jobs.errors import InvalidInputError, WorkerNotFoundError
from flask_forge_jobs.handlers import workers
from flask_forge_jobs.handlers.workers import StateCounts, get_worker, list_workers
from flask_forge_jobs.model.metrics import (
    SAMPLE_LEVELS,
    DatabaseHealth,
    ResourceUse,
    SampleSums,
    floor_to,
)
from flask_forge_jobs.model.worker_details import QueueLoad
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import claim_one, enqueue
from tests.support.sql import Sql


def beat(storage: Storage, worker_id: str, *queues: str) -> None:
    slots = [SlotReport(f"{name}-0-{worker_id}-0", name) for name in queues]
    storage.workers.beat(worker_id, None, queues, slots)


def ids(page: workers.WorkerPage) -> list[str]:
    return [row.worker.worker_id for row in page.rows]


def test_pages_are_chained_by_their_cursor(storage: Storage) -> None:
    for name in "abcde":
        beat(storage, name, "mail")

    seen, cursor = [], None
    while True:
        page = list_workers(storage, limit=2, cursor=cursor)
        seen += ids(page)
        assert page.counts == StateCounts(live=5, late=0, lost=0)
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == ["e", "d", "c", "b", "a"]


def test_without_workers_there_is_an_empty_page(storage: Storage) -> None:
    page = list_workers(storage)

    assert (page.rows, page.next_cursor, page.is_whole) == ([], None, True)


def test_workers_are_found_by_state_and_queue(storage: Storage, sql: Sql) -> None:
    beat(storage, "lost", "mail")
    storage.workers.reap(["lost"])
    beat(storage, "late", "mail")
    sql.age(31)
    beat(storage, "bank", "bank")
    beat(storage, "both", "bank", "mail")

    assert ids(list_workers(storage, state="lost")) == ["lost"]
    assert ids(list_workers(storage, state="late")) == ["late"]
    assert ids(list_workers(storage, queue="mail")) == ["lost", "late", "both"]
    assert ids(list_workers(storage, state="live", queue="mail")) == ["both"]
    assert list_workers(storage).counts == StateCounts(live=2, late=1, lost=1)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"state": "gone"}, "state"),
        ({"cursor": ""}, "cursor"),
        ({"cursor": "x" * 65}, "cursor"),
        ({"cursor": "w1"}, "cursor"),
    ],
)
def test_values_out_of_bounds_are_refused(
    storage: Storage, arguments: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidInputError) as error:
        list_workers(storage, **arguments)  # type: ignore[arg-type]  # what is tested

    assert error.value.field == field


def test_a_queue_without_slots_is_listed(storage: Storage) -> None:
    storage.workers.beat("a", None, ["paused", "mail"], [SlotReport("m", "mail")])

    found = get_worker(storage, "a")

    assert found.by_queue == [QueueLoad("paused", 0, 0), QueueLoad("mail", 1, 1)]
    assert (found.slots, found.idle_slots) == (1, 1)


def test_an_unknown_worker_is_not_found(storage: Storage) -> None:
    beat(storage, "a", "mail")

    with pytest.raises(WorkerNotFoundError):
        get_worker(storage, "b")
    with pytest.raises(WorkerNotFoundError):
        get_worker(storage, "a", ["bank"])


def test_a_limited_caller_sees_only_what_concerns_its_queues(
    storage: Storage, sql: Sql
) -> None:
    jobs = {}
    for name in ("mail", "bank"):
        enqueue(storage, f"of-{name}", queue_name=name)
        jobs[name] = claim_one(storage, owner="both", queue_name=name).id
    slots = [SlotReport(f"{name}-0-both-0", name, job) for name, job in jobs.items()]
    storage.workers.beat("both", None, ["mail", "bank"], slots)
    beat(storage, "teller", "bank")
    beat(storage, "clerk", "mail")
    sums = SampleSums()
    sums.add(ResourceUse(50.0, 4096, 0, 0, 0.0), DatabaseHealth(0, 0, 0, 0, 0))
    level = SAMPLE_LEVELS[0]
    for name in ("both", "clerk"):
        storage.samples.put(name, {(level, floor_to(sql.now_us(), level)): sums})

    page = list_workers(storage, ["mail"])

    clerk, both = page.rows
    assert ids(page) == ["clerk", "both"]
    assert page.counts == StateCounts(live=2, late=0, lost=0)
    assert both.by_queue == [QueueLoad("mail", 1, 0, 1)]
    assert [run.kind for run in both.running] == ["of-mail"]
    assert both.use is None
    assert clerk.use is not None
    assert get_worker(storage, "both").use is not None
    assert ids(list_workers(storage, ["mail"], queue="bank")) == []
    assert list_workers(storage, []).rows == []


def test_a_lost_worker_shows_a_limited_caller_only_its_jobs(storage: Storage) -> None:
    slots = []
    for name in ("mail", "bank"):
        enqueue(storage, f"of-{name}", queue_name=name)
        job_id = claim_one(storage, owner="gone", queue_name=name).id
        slots.append(SlotReport(f"{name}-0-gone-0", name, job_id))
    storage.workers.beat("gone", None, ["mail", "bank"], slots)
    storage.jobs.rescue(storage.jobs.running())
    storage.workers.reap(["gone"])

    (job,) = get_worker(storage, "gone", ["mail"]).rescued

    assert (job.kind, job.status) == ("of-mail", "failed")
    assert len(get_worker(storage, "gone").rescued) == 2


def test_a_page_is_two_round_trips(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        beat(storage, name, "mail")
    reader = storage.worker_reader
    asked: list[str] = []
    for name in ("known", "burden"):
        real = getattr(reader, name)

        def ask(*args: object, real=real, name=name, **more: object):  # type: ignore[no-untyped-def]
            asked.append(name)
            return real(*args, **more)

        monkeypatch.setattr(reader, name, ask)

    list_workers(storage)

    assert asked == ["known", "burden"]
