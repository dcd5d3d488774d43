"""Who pauses a queue or cools it down and why, and which worker served it last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_forge_jobs.errors import QueueNotFoundError
from flask_forge_jobs.model.outcomes import Done, Throttled
from flask_forge_jobs.model.queues import ChangeNote, QueueChanges, QueueSettings
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, QUEUE, claim_one, enqueue, finish, run
from tests.support.sql import SECOND_US, Sql

ANN = ChangeNote("ann", "password=hunter2 leaks")


def paused(queue: QueueSettings) -> tuple[object, ...]:
    return queue.paused, queue.paused_by, queue.pause_reason


def cause(queue: QueueSettings) -> tuple[str | None, ...]:
    return (
        queue.throttled_by, queue.throttled_job_id, queue.throttled_kind,
        queue.throttle_cause,
    )  # fmt: skip


@pytest.mark.parametrize("way", ["change", "many", "create"])
def test_a_pause_keeps_who_when_and_why_until_the_queue_is_resumed(
    storage: Storage, sql: Sql, way: str
) -> None:
    if way == "create":
        storage.queues.create(QueueSettings("mail", paused=True), ANN)
    else:
        storage.queues.ensure("mail")
    if way == "change":
        storage.queues.change("mail", {"paused": True}, note=ANN)
    if way == "many":
        storage.queues.set_paused_many(None, paused=True, note=ANN)
    queue = storage.queues.get("mail")

    by_ben = ChangeNote("ben", "later")
    storage.queues.set_paused_many(["mail"], paused=True, note=by_ben)
    storage.queues.change("mail", {"paused": True, "max_workers": 2}, note=by_ben)
    # It looks first, and has a statement of its own.
    changes: QueueChanges = {"paused": True, "max_workers": 3}
    storage.queues.change("mail", changes, lambda _: True, by_ben)
    still = storage.queues.get("mail")
    storage.queues.set_paused_many(None, paused=False, note=by_ben)
    resumed = storage.queues.get("mail")

    assert queue.paused_at is not None
    assert abs(queue.paused_at.timestamp() - sql.now_us() / SECOND_US) < 60
    assert (queue.paused_by, queue.pause_reason) == ("ann", "password=[redacted] leaks")
    assert replace(queue, max_workers=3, updated_at=still.updated_at) == still
    assert paused(resumed) == (False, None, None)
    assert resumed.paused_at is None


def test_a_change_that_resumes_forgets_the_pause(storage: Storage) -> None:
    storage.queues.ensure("mail")
    storage.queues.change("mail", {"paused": True}, note=ANN)

    storage.queues.change("mail", {"paused": False}, note=ANN)

    assert paused(storage.queues.get("mail")) == (False, None, None)


def test_a_pause_and_a_cool_down_are_ended_alone(storage: Storage) -> None:
    """A later pause or cool-down stays."""
    queues = storage.queues
    queues.ensure(QUEUE)
    queues.cool_down([QUEUE], 600)
    queues.set_paused_many([QUEUE], paused=True)
    first = queues.get(QUEUE)
    queues.set_paused_many([QUEUE], paused=False)
    queues.set_paused_many([QUEUE], paused=True)
    queues.cool_down([QUEUE], 600)
    second = queues.get(QUEUE)

    for seen, changed in ((first, 0), (second, 1), (second, 0)):
        resumed = queues.set_paused_many([QUEUE], paused=False, began_at=seen.paused_at)
        opened = queues.clear_cooldowns([QUEUE], seen.throttled_until)
        assert (resumed, opened) == (changed, changed)


def test_an_operator_cools_a_queue_down_and_replaces_what_is_open(
    storage: Storage,
) -> None:
    storage.queues.ensure(QUEUE)
    enqueue(storage)
    storage.queues.cool_down([QUEUE], 600)
    assert storage.jobs.claim(QUEUE, OWNER) == []

    assert storage.queues.cool_down(None, 60, ANN) == 1

    queue = storage.queues.get(QUEUE)
    assert queue.throttled_until is not None
    assert queue.updated_at is not None
    assert (queue.throttled_until - queue.updated_at).total_seconds() == 60
    assert cause(queue) == ("ann", None, None, "password=[redacted] leaks")
    assert storage.queues.clear_cooldowns([QUEUE]) == 1
    assert cause(storage.queues.get(QUEUE)) == (None,) * 4
    assert len(storage.jobs.claim(QUEUE, OWNER)) == 1


def test_no_queue_cools_down_if_one_is_unknown(storage: Storage) -> None:
    storage.queues.ensure("mail")

    with pytest.raises(QueueNotFoundError):
        storage.queues.cool_down(["mail", "none"], 60)

    assert storage.queues.get("mail").throttled_until is None


def test_a_throttle_is_the_cause_of_the_cool_down_that_it_opens(
    storage: Storage, sql: Sql
) -> None:
    job_id = enqueue(storage, kind="fetch")
    run(storage, Throttled(5, reason="HTTP 429"))

    assert cause(storage.queues.get(QUEUE)) == (None, job_id, "fetch", "HTTP 429")

    sql.age(300)
    enqueue(storage)
    run(storage, Done())
    assert cause(storage.queues.get(QUEUE)) == (None,) * 4


@pytest.mark.parametrize(("seconds", "is_longer"), [(200, True), (65, False)])
def test_the_cause_is_of_what_cools_the_queue_longest(
    storage: Storage, seconds: float, is_longer: bool
) -> None:
    ids = [enqueue(storage, kind=kind) for kind in ("one", "two")]
    first, second = storage.jobs.claim(QUEUE, OWNER, 2)
    finish(storage, first, Throttled(100, reason="first"))

    finish(storage, second, Throttled(seconds, reason="second"))

    expected = (None, ids[is_longer], second.kind if is_longer else first.kind)
    words = "second" if is_longer else "first"
    assert cause(storage.queues.get(QUEUE)) == (*expected, words)


def test_a_throttle_within_an_operator_s_cool_down_takes_its_own_delay(
    storage: Storage,
) -> None:
    """It found the queue without a window of its own kind."""
    storage.queues.ensure(QUEUE)
    storage.queues.change(QUEUE, {"backoff_enabled": True, "backoff_base_seconds": 100})
    enqueue(storage)
    job = claim_one(storage)
    storage.queues.cool_down([QUEUE], 60)

    finish(storage, job, Throttled(0))

    queue = storage.queues.get(QUEUE)
    assert queue.throttled_until is not None
    assert queue.updated_at is not None
    assert (queue.throttled_until - queue.updated_at).total_seconds() == 100


# -- the last worker ---------------------------------------------------------------


def served(storage: Storage, name: str = "mail") -> tuple[str | None, int]:
    queue = storage.queues.get(name)
    at = queue.last_served_at
    return queue.last_worker, 0 if at is None else round(at.timestamp() * SECOND_US)


def beat(storage: Storage, worker_id: str, name: str | None = None) -> None:
    storage.workers.beat(worker_id, name, ["mail", "reports"], [])


def test_a_beat_notes_its_worker_once_a_minute(storage: Storage, sql: Sql) -> None:
    for name in ("mail", "reports", "other"):
        storage.queues.ensure(name)
    beat(storage, "one", "worker-a")
    first = served(storage)
    beat(storage, "two")
    again = served(storage)
    sql.run("UPDATE forge_queue SET last_served_at = last_served_at - 61000000")

    beat(storage, "two")

    assert first[0] == "worker-a"
    assert abs(first[1] - sql.now_us()) < 60 * SECOND_US
    assert first == again
    assert served(storage)[0] == "two"
    assert served(storage, "reports")[0] == "two"
    assert served(storage, "other") == (None, 0)


@pytest.mark.parametrize("way", ["remove", "reap"])
def test_a_worker_that_leaves_is_noted_with_its_last_heartbeat(
    storage: Storage, sql: Sql, way: str
) -> None:
    storage.queues.ensure("mail")
    beat(storage, "one")
    beat(storage, "two")
    sql.run("UPDATE forge_worker SET heartbeat_at = heartbeat_at + 5000000")
    last = sql.value("SELECT heartbeat_at FROM forge_worker WHERE worker_id = 'two'")

    if way == "remove":
        storage.workers.remove("two")
    else:
        storage.workers.reap(["two"])

    assert served(storage) == ("two", last)
