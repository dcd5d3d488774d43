"""A queue that is full takes in no more, from whoever it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import QueueFullError, RateLimitedError
from flask_forge_jobs.model.jobs import NewJob
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Transaction
from flask_forge_jobs.storage.jobs.addition import Addition, Ties
from tests.support.callers import TABLE, Caller
from tests.support.jobs import claim_one, run
from tests.support.lossy import lossy_jobs
from tests.support.sql import Sql
from tests.support.threads import LIMIT_S, run_together
from tests.support.waiting import wait_until

JOB = NewJob("send", queue_name="mail")
Enqueue = Callable[[Storage, NewJob], object]
WAYS: dict[str, Enqueue] = {
    "one": lambda storage, job: storage.jobs.enqueue(job),
    "many": lambda storage, job: storage.jobs.enqueue_many([job]),
    "with a request key": lambda storage, job: storage.jobs.enqueue(
        job, RequestKey("ann", "k", "send")
    ),
}


@pytest.fixture
def bounded(storage: Storage) -> Storage:
    """The queue ``mail`` takes in three jobs."""
    storage.queues.create(QueueSettings("mail", max_pending=3))
    return storage


def keyed(key: str) -> NewJob:
    return NewJob("send", queue_name="mail", dedupe_key=key)


def waiting(storage: Storage) -> int:
    return storage.queues.waiting(["mail"])["mail"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("job", [JOB, keyed("new")], ids=["plain", "keyed"])
def test_a_full_queue_refuses(bounded: Storage, way: str, job: NewJob) -> None:
    bounded.jobs.enqueue_many([JOB] * 3)

    for _ in range(2):  # whether or not the queue was known before
        with pytest.raises(QueueFullError) as caught:
            WAYS[way](bounded, job)

    assert caught.value.queue_name == "mail"
    assert caught.value.retry_after_s >= 1
    assert isinstance(caught.value, RateLimitedError)
    assert waiting(bounded) == 3


@pytest.mark.parametrize("way", WAYS)
def test_there_is_room_up_to_the_bound(bounded: Storage, way: str) -> None:
    bounded.jobs.enqueue(JOB)
    bounded.jobs.enqueue(keyed("first"))

    WAYS[way](bounded, keyed("second"))

    assert waiting(bounded) == 3


def test_room_is_made_by_what_starts(bounded: Storage) -> None:
    bounded.jobs.enqueue_many([JOB] * 3)
    claim_one(bounded, queue_name="mail")

    bounded.jobs.enqueue(JOB)

    with pytest.raises(QueueFullError):
        bounded.jobs.enqueue(JOB)


def test_many_are_stored_all_or_none(bounded: Storage) -> None:
    bounded.jobs.enqueue(JOB)

    for jobs in ([JOB] * 3, [JOB, JOB, keyed("a")], [keyed(c) for c in "abc"]):
        with pytest.raises(QueueFullError):
            bounded.jobs.enqueue_many([NewJob("other"), *jobs])

    assert waiting(bounded) == 1
    assert bounded.queues.waiting(["default"]) == {"default": 0}
    bounded.jobs.enqueue_many([JOB, keyed("a"), keyed("a"), NewJob("other")])
    assert waiting(bounded) == 3


def test_a_job_that_is_there_already_needs_no_room(bounded: Storage) -> None:
    first = bounded.jobs.enqueue(keyed("once"))
    bounded.jobs.enqueue_many([JOB] * 2)

    again = bounded.jobs.enqueue(keyed("once"))
    many = bounded.jobs.enqueue_many([keyed("once")] * 2)

    assert {each.id for each in (again, *many)} == {first.id}


def test_a_request_that_is_repeated_needs_no_room(bounded: Storage) -> None:
    key = RequestKey("ann", "order-1", "send")
    first = bounded.jobs.enqueue_many([JOB] * 3, key)

    again = bounded.jobs.enqueue_many([JOB] * 3, key)

    assert [each.id for each in again] == [each.id for each in first]
    assert all(each.is_replayed for each in again)


def test_what_was_in_before_comes_back_into_a_full_queue(bounded: Storage) -> None:
    """Retries and requeued jobs are not held back."""
    bounded.jobs.enqueue_many([JOB] * 3)
    run(bounded, Failed("no"), queue_name="mail")
    assert waiting(bounded) == 3
    (job,) = bounded.jobs.claim("mail", "worker")
    bounded.jobs.enqueue(JOB)
    bounded.jobs.rescue(bounded.jobs.running())

    assert bounded.job_reader.get(job.id).status == "failed"
    assert waiting(bounded) == 4


def test_a_caller_may_ask_for_less(storage: Storage) -> None:
    storage.queues.create(QueueSettings("wide", max_pending=3))
    for name, most in (("wide", 2), ("mail", 2)):
        job = NewJob("send", queue_name=name)
        storage.jobs.enqueue_many([job] * 2, max_waiting=most)
        for refused in (
            partial(storage.jobs.enqueue, job, max_waiting=most),
            partial(storage.jobs.enqueue_many, [job], max_waiting=most),
        ):
            with pytest.raises(QueueFullError):
                refused()

    wide = NewJob("send", queue_name="wide")
    storage.jobs.enqueue(wide, max_waiting=99)
    with pytest.raises(QueueFullError):
        storage.jobs.enqueue(wide, max_waiting=99)


def addition(
    storage: Storage, transaction: Transaction, jobs: list[NewJob], ids: list[str]
) -> Addition:
    """Return jobs that come while three may wait."""
    ties = Ties(storage.jobs.settlement)
    return Addition(transaction, jobs, ids, None, set(), {"mail": 3}, ties)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("job", [JOB, keyed("new")], ids=["plain", "keyed"])
def test_a_producer_waits_for_one_that_takes_the_last_place(
    bounded: Storage, sql: Sql, job: NewJob, way: str
) -> None:
    """It would not see a job that is stored but not committed."""
    bounded.jobs.enqueue_many([JOB] * 2)

    with ThreadPoolExecutor(1) as pool:
        second: list[Future[object]] = []

        def work(transaction: Transaction) -> None:
            addition(bounded, transaction, [JOB], ["a"]).store()
            second.append(pool.submit(WAYS[way], bounded, job))
            # SQLite has one writer at a time, whatever it stores.
            if bounded.backend == "postgres":
                wait_until(
                    lambda: sql.lock_waiters or second[0].done(), "the second waits"
                )

        bounded.database.write(work)
        with pytest.raises(QueueFullError):
            second[0].result(LIMIT_S)

    assert waiting(bounded) == 3


def test_producers_at_the_same_moment_never_exceed_the_bound(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail", max_pending=10))

    def produce(number: int) -> int:
        stored = 0
        for turn in range(5):
            job = keyed(f"{number}-{turn}") if number % 2 else JOB
            with contextlib.suppress(QueueFullError):
                storage.jobs.enqueue(job)
                stored += 1
        return stored

    stored = run_together([partial(produce, number) for number in range(8)])

    assert sum(stored) == waiting(storage) == 10


def test_a_queue_without_a_bound_takes_all(storage: Storage) -> None:
    storage.queues.create(QueueSettings("mail"))

    storage.jobs.enqueue_many([JOB] * 500)
    storage.jobs.enqueue(JOB)

    assert waiting(storage) == 501


# -- after an answer that was lost -----------------------------------------------------


def test_an_unclear_commit_that_filled_the_queue_is_a_success(bounded: Storage) -> None:
    """What the lost commit stored is not held against the job itself."""
    lossy_jobs(bounded.database).enqueue_many([JOB] * 3)

    assert waiting(bounded) == 3


def test_an_unclear_commit_is_a_success_although_others_filled_the_queue(
    bounded: Storage,
) -> None:
    """With a key, which the second try meets as its own."""

    def fill() -> None:
        if waiting(bounded) == 2:
            bounded.jobs.enqueue(JOB)

    lossy_jobs(bounded.database, fill).enqueue_many([keyed("a"), JOB])

    assert waiting(bounded) == 3


def test_a_job_of_an_earlier_call_is_no_sign_of_an_unclear_commit(
    bounded: Storage,
) -> None:
    """Its id, which the caller has chosen, comes again with others."""
    again = replace(keyed("again"), job_id="01J0000000000000000000000A")
    bounded.jobs.enqueue(again)

    def work(transaction: Transaction) -> None:
        transaction.attempt = 1  # nothing of the first one was stored
        jobs = [again, JOB, JOB, JOB]
        ids = [str(again.job_id), *"bcd"]
        addition(bounded, transaction, jobs, ids).store()

    with pytest.raises(QueueFullError):
        bounded.database.write(work)

    assert waiting(bounded) == 1


# -- in the caller's transaction -------------------------------------------------------


@pytest.fixture
def caller(database_settings: DatabaseSettings, sql: Sql) -> Iterator[Caller]:
    sql.run(TABLE)
    with contextlib.closing(Caller(database_settings)) as opened:
        yield opened


@pytest.mark.parametrize("job", [JOB, keyed("new")], ids=["plain", "keyed"])
def test_a_caller_s_transaction_goes_on_after_a_refusal(
    bounded: Storage, caller: Caller, job: NewJob
) -> None:
    bounded.jobs.enqueue_many([JOB] * 2)

    with caller.connected() as connection:
        bounded.jobs.enqueue(JOB, connection=connection)
        with pytest.raises(QueueFullError):
            bounded.jobs.enqueue(job, connection=connection)
        with pytest.raises(QueueFullError):
            bounded.jobs.enqueue_many([job, JOB], connection=connection)
        connection.commit()

    assert waiting(bounded) == 3
