"""A delay counts on the server's clock, whatever that of the producer says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.storage.base import Storage, open_storage
from flask_forge_jobs.storage.postgres.database import PostgresDatabase
from tests.support.clocks import SECOND_US, MovingClock
from tests.support.sql import Sql

DELAY_S = 600
JOB = NewJob("noop", delay=DELAY_S)
KEYED = NewJob("noop", delay=DELAY_S, dedupe_key="once", replace=("run_at",))


@pytest.fixture
def storage(postgres_settings: DatabaseSettings) -> Iterator[Storage]:
    """The stores of a producer whose clock is years behind; its queue is known."""
    behind = open_storage(postgres_settings, clock=MovingClock(0))
    with contextlib.closing(behind) as storage:
        storage.queues.ensure("default")
        yield storage


def alone(storage: Storage) -> EnqueueResult:
    return storage.jobs.enqueue(JOB)


def first_of_a_queue(storage: Storage) -> EnqueueResult:
    return storage.jobs.enqueue(NewJob("noop", delay=DELAY_S, queue_name="new"))


def among_many(storage: Storage) -> EnqueueResult:
    return storage.jobs.enqueue_many([JOB, NewJob("noop")])[0]


def among_many_with_a_key(storage: Storage) -> EnqueueResult:
    return storage.jobs.enqueue_many([KEYED, NewJob("noop")])[0]


def in_the_callers_transaction(storage: Storage) -> EnqueueResult:
    assert isinstance(storage.database, PostgresDatabase)
    with contextlib.closing(storage.database._connect()) as connection:
        connection.autocommit = False
        result = storage.jobs.enqueue(JOB, connection=connection)
        connection.commit()
    return result


def unheard(storage: Storage) -> EnqueueResult:
    assert isinstance(storage.database, PostgresDatabase)
    storage.database._state.quiet.begin_if_full(1.0)
    return storage.jobs.enqueue(JOB)


@pytest.mark.parametrize(
    "enqueue",
    [
        alone,
        first_of_a_queue,
        among_many,
        among_many_with_a_key,
        in_the_callers_transaction,
        unheard,
    ],
)
def test_a_delay_counts_from_the_servers_now(
    storage: Storage,
    postgres_settings: DatabaseSettings,
    enqueue: Callable[[Storage], EnqueueResult],
) -> None:
    result = enqueue(storage)

    ((delay_us, due_us, is_deferred),) = Sql(postgres_settings).run(
        "SELECT scheduled_at - enqueued_at, scheduled_at, deferred FROM forge_job "
        "WHERE id = ?",
        result.id,
    )
    assert delay_us == DELAY_S * SECOND_US
    assert is_deferred
    assert result.scheduled_at_us == due_us


def test_a_new_delay_of_a_pending_job_counts_from_the_servers_now(
    storage: Storage, postgres_settings: DatabaseSettings
) -> None:
    sql = Sql(postgres_settings)
    storage.jobs.enqueue(NewJob("noop", dedupe_key="once"))
    before_us = sql.now_us()

    storage.jobs.enqueue(KEYED)

    ((due_us, is_deferred),) = sql.run("SELECT scheduled_at, deferred FROM forge_job")
    assert before_us <= due_us - DELAY_S * SECOND_US <= sql.now_us()
    assert is_deferred


def test_no_delay_is_now(storage: Storage, postgres_settings: DatabaseSettings) -> None:
    storage.jobs.enqueue(NewJob("noop", delay=0))

    assert Sql(postgres_settings).run(
        "SELECT scheduled_at - enqueued_at, deferred FROM forge_job"
    ) == [(0, False)]
