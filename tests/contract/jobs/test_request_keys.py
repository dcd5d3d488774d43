"""A request with a key is done once, however often and however fast it is made."""

from __future__ import annotations

from functools import partial

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import DuplicateJobError, RequestKeyReusedError
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.base import Storage
from tests.support.callers import Caller
from tests.support.jobs import run
from tests.support.lossy import lossy_jobs
from tests.support.sql import Sql
from tests.support.threads import run_together

DAY_S = 86_400
KEY = RequestKey("me", "key-1", "enqueue")
JOB = NewJob("noop")


def rows(sql: Sql) -> int:
    return int(sql.value("SELECT COUNT(*) FROM forge_job"))


def test_the_same_request_is_answered_alike(storage: Storage, sql: Sql) -> None:
    """H29"""
    first = storage.jobs.enqueue(JOB, KEY)
    run(storage, Done())

    again = storage.jobs.enqueue(JOB, KEY)

    assert not first.is_replayed
    assert again.is_replayed
    assert again == EnqueueResult(
        first.id,
        False,
        "default",
        "noop",
        JobStatus.PENDING,
        first.scheduled_at_us,
        queue_created=True,
        is_replayed=True,
    )
    assert rows(sql) == 1


def test_another_request_with_the_key_is_refused(storage: Storage, sql: Sql) -> None:
    """H29"""
    storage.jobs.enqueue(JOB, KEY)

    with pytest.raises(RequestKeyReusedError) as caught:
        storage.jobs.enqueue(NewJob("noop", payload='{"a":1}'), KEY)

    assert caught.value.key == "key-1"
    assert rows(sql) == 1


def test_keys_are_their_owners(storage: Storage, sql: Sql) -> None:
    storage.jobs.enqueue(JOB, KEY)
    storage.jobs.enqueue(NewJob("other"), RequestKey("you", "key-1", "enqueue"))

    assert rows(sql) == 2


def test_many_jobs_are_remembered_in_order(storage: Storage, sql: Sql) -> None:
    jobs = [NewJob("noop", dedupe_key=key) for key in ("a", "b", "a")] + [JOB]

    first = storage.jobs.enqueue_many(jobs, KEY)
    again = storage.jobs.enqueue_many(jobs, KEY)

    assert [each.id for each in again] == [each.id for each in first]
    assert [each.is_deduped for each in again] == [False, False, True, False]
    assert rows(sql) == 3


def test_twins_at_once_store_one_row(storage: Storage, sql: Sql) -> None:
    """H29, I9"""
    storage.queues.ensure("default")
    for number in range(10):
        key = RequestKey("me", f"twin-{number}", "enqueue")

        results = run_together([partial(storage.jobs.enqueue, JOB, key)] * 4)

        assert len({result.id for result in results}) == 1
        assert sum(not result.is_replayed for result in results) == 1
    assert rows(sql) == 10


def test_a_request_that_fails_leaves_its_key_unused(storage: Storage, sql: Sql) -> None:
    storage.jobs.enqueue(NewJob("other", dedupe_key="held"))
    job = NewJob("noop", dedupe_key="held")

    with pytest.raises(DuplicateJobError):
        storage.jobs.enqueue(job, KEY)

    assert sql.value("SELECT COUNT(*) FROM forge_request_key") == 0
    run(storage, Done())
    assert not storage.jobs.enqueue(job, KEY).is_replayed


def test_an_unclear_commit_is_cleared_up_by_the_key(storage: Storage, sql: Sql) -> None:
    """The answer was lost, the job was stored: the repeated unit finds it."""
    result = lossy_jobs(storage.database).enqueue(JOB, KEY)

    assert rows(sql) == 1
    assert storage.job_reader.get(result.id).id == result.id


def test_a_key_is_forgotten_after_a_day(storage: Storage, sql: Sql) -> None:
    """H29: expired"""
    first = storage.jobs.enqueue(JOB, KEY)
    sql.age(DAY_S - 60)
    assert storage.jobs.enqueue(JOB, KEY).id == first.id
    sql.age(61)

    second = storage.jobs.enqueue(NewJob("other"), KEY)

    assert second.id != first.id
    assert storage.jobs.enqueue(NewJob("other"), KEY).id == second.id
    assert rows(sql) == 2


def test_expired_keys_are_removed_a_few_at_a_time(storage: Storage, sql: Sql) -> None:
    for number in range(25):
        storage.jobs.enqueue(JOB, RequestKey("me", f"old-{number}", "enqueue"))
    sql.age(DAY_S + 1)

    left = []
    for number in range(4):
        storage.jobs.enqueue(JOB, RequestKey("me", f"new-{number}", "enqueue"))
        left.append(sql.value("SELECT COUNT(*) FROM forge_request_key"))

    assert left == [16, 7, 3, 4]


def test_what_is_replayed_is_not_counted_again(storage: Storage, sql: Sql) -> None:
    for _ in range(3):
        storage.jobs.enqueue(JOB, KEY)
    storage.flusher.flush()

    counted = "SELECT SUM(enqueued) FROM forge_metric WHERE level = 10 AND kind = ?"
    assert sql.value(counted, "noop") == 1


def test_what_is_replayed_to_a_caller_is_not_counted_again(
    storage: Storage, sql: Sql, database_settings: DatabaseSettings
) -> None:
    with Caller(database_settings).connected() as connection:
        for _ in range(2):
            storage.jobs.enqueue(JOB, KEY, connection=connection)
            connection.commit()
            storage.flusher.flush()

    counted = "SELECT SUM(enqueued) FROM forge_metric WHERE level = 10 AND kind = ?"
    assert sql.value(counted, "noop") == 1
