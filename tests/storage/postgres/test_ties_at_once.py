"""Links and batches while ends overlap that are one message each, in forced orders.

The message ends a job, counts it, frees the jobs that wait for it, and claims. A lock
of another session stops it in between, with the job ended and nothing committed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.model.batches import BatchState
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.support.jobs import OWNER, claim_one, enqueue, finish
from tests.support.proxy import Proxy, proxied
from tests.support.sql import Sql
from tests.support.threads import LIMIT_S
from tests.support.ties import batch_of, end, told
from tests.support.waiting import wait_until

_WAITERS = (
    "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock' AND query LIKE ?"
)


T = TypeVar("T")


class Blocker:
    """Stops statements by a lock until it lets them go."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._connection = sql.connect()
        self._connection.autocommit = False

    def lock(self, statement: str, *values: object) -> None:
        """Take the locks of a statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)

    def wait_for(self, count: int, text: str = "forge_exchange") -> None:
        """Wait until so many statements with a text wait for a lock."""
        wait_until(
            lambda: self._sql.value(_WAITERS, f"%{text}%") == count,
            f"{count} of {text} wait",
            period_s=0.005,  # some wait for 20 ms at a time
        )

    def let_go(self, *futures: Future[T]) -> list[T]:
        """Give up the locks, and return the results of calls."""
        self._connection.rollback()
        return [future.result(LIMIT_S) for future in futures]

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def sql(postgres_settings: DatabaseSettings) -> Sql:
    return Sql(postgres_settings)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as found:
        yield found


# After the pool: what waits has to go on before the pool ends.
@pytest.fixture
def blocker(sql: Sql, pool: ThreadPoolExecutor) -> Iterator[Blocker]:
    del pool
    with contextlib.closing(Blocker(sql)) as found:
        yield found


@pytest.fixture
def proxy(postgres_settings: DatabaseSettings) -> Iterator[Proxy]:
    with proxied(postgres_settings) as found:
        yield found


@pytest.fixture
def far(proxy: Proxy, postgres_settings: DatabaseSettings) -> Iterator[Storage]:
    """The stores by way of a network that fails when the test says so."""
    settings = DatabaseSettings.from_url(proxy.url_of(postgres_settings))
    with contextlib.closing(open_storage(settings, jitter=None)) as storage:
        yield storage


def child_of(storage: Storage, job: ClaimedJob, blocker: Blocker) -> str:
    """Let a job wait for one that runs, whose end then waits for the blocker."""
    child = NewJob("child", queue_name="child", after=[job.id])
    child_id = storage.jobs.enqueue(child).id
    blocker.lock("SELECT FROM forge_job WHERE id = %s FOR UPDATE", child_id)
    return child_id


def test_the_last_two_end_at_once(
    postgres: Storage, blocker: Blocker, pool: ThreadPoolExecutor
) -> None:
    """Neither sees that the other one has ended, and each then folds."""
    batch_id, jobs = batch_of(postgres, 2)
    blocker.lock("LOCK TABLE forge_batch_change IN SHARE MODE")
    ending = [pool.submit(end(postgres, job)) for job in jobs]
    blocker.wait_for(2)
    assert {postgres.job_reader.get(job.id).status for job in jobs} == {
        JobStatus.IN_PROGRESS
    }

    left = blocker.let_go(*ending)

    if {batch_id} in left:  # one was at it, and the other one comes again
        assert postgres.batches.fold([batch_id]) == set()
    assert postgres.batches.get(batch_id).state is BatchState.DONE
    assert told(postgres) == 1


def test_the_first_to_end_commits_last(
    postgres: Storage, blocker: Blocker, pool: ThreadPoolExecutor
) -> None:
    batch_id, (first, second) = batch_of(postgres, 2)
    child_id = child_of(postgres, first, blocker)
    ending = pool.submit(end(postgres, first))
    blocker.wait_for(1)

    assert end(postgres, second)() == set()
    assert postgres.batches.get(batch_id).unfinished == 1
    assert told(postgres) == 0
    blocker.let_go(ending)

    assert postgres.batches.get(batch_id).state is BatchState.DONE
    assert told(postgres) == 1
    assert claim_one(postgres, queue_name="child").id == child_id


def test_a_job_is_added_while_the_last_one_ends(
    postgres: Storage, blocker: Blocker, pool: ThreadPoolExecutor
) -> None:
    batch_id, (last,) = batch_of(postgres, 1)
    child_of(postgres, last, blocker)
    ending = pool.submit(end(postgres, last))
    blocker.wait_for(1)

    postgres.batches.add(batch_id, [NewJob("part")])
    blocker.let_go(ending)

    batch = postgres.batches.get(batch_id)
    assert (batch.total, batch.unfinished, batch.completed_at) == (2, 1, None)
    assert told(postgres) == 0
    assert end(postgres, claim_one(postgres))() == set()
    assert told(postgres) == 1


def test_a_job_begins_to_wait_for_one_that_is_ending(
    postgres: Storage, blocker: Blocker, pool: ThreadPoolExecutor, sql: Sql
) -> None:
    """It waits for the end of the parent, and so never for the parent"""
    enqueue(postgres)
    parent = claim_one(postgres)
    first = child_of(postgres, parent, blocker)
    ending = pool.submit(finish, postgres, parent, Done("7"))
    blocker.wait_for(1)
    child = NewJob("child", queue_name="child", after=[parent.id])
    adding = pool.submit(postgres.jobs.enqueue, child)
    blocker.wait_for(1, "FOR NO KEY UPDATE")

    blocker.let_go(ending)
    second = adding.result(LIMIT_S)

    assert second.scheduled_at_us <= sql.now_us()
    ids = [job.id for job in postgres.jobs.claim("child", OWNER, 5)]
    assert ids == [first, second.id]
    assert [postgres.links.parents_of(each)[0].result for each in ids] == ["7", "7"]


def test_an_end_is_repeated_while_the_first_message_still_waits(
    postgres: Storage,
    far: Storage,
    proxy: Proxy,
    blocker: Blocker,
    pool: ThreadPoolExecutor,
) -> None:
    """Its connection was lost, and the server does not know yet"""
    batch_id, (job,) = batch_of(postgres, 1)
    child_id = child_of(postgres, job, blocker)
    ending = pool.submit(end(far, job))
    blocker.wait_for(1)

    proxy.cut()
    blocker.wait_for(2)
    assert blocker.let_go(ending) == [set()]

    batch = postgres.batches.get(batch_id)
    assert (batch.done, batch.state) == (1, BatchState.DONE)
    assert told(postgres) == 1
    assert [e.id for e in postgres.jobs.claim("child", OWNER, 5)] == [child_id]
