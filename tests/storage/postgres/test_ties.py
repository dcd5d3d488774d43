"""Links and batches while transactions of PostgreSQL overlap, in forced orders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import BatchEndedError
from flask_forge_jobs.model.batches import BatchState, NewBatch
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Done
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.batches import BatchStore
from flask_forge_jobs.storage.jobs.tying import Tying
from flask_forge_jobs.storage.ties import settlement
from flask_forge_jobs.storage.ties.settlement import Settlement
from tests.support.jobs import OWNER, claim_one, enqueue, finish
from tests.support.lossy import lossy_jobs
from tests.support.sql import Sql
from tests.support.threads import LIMIT_S
from tests.support.ties import batch_of, end, told
from tests.support.waiting import wait_until


class Held:
    """Stops one call of a function, made on the first thread, once it has ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self._arrived, self._may_go = threading.Event(), threading.Event()
        self._thread: int | None = None
        inner = getattr(owner, name)

        def hold(*args: Any, **options: Any) -> Any:
            result = inner(*args, **options)
            if self._thread == threading.get_ident() and not self._arrived.is_set():
                self._arrived.set()
                assert self._may_go.wait(LIMIT_S)
            return result

        monkeypatch.setattr(owner, name, hold)
        self._pool = ThreadPoolExecutor(2)

    def start(self, call: Callable[[], object]) -> Future[object]:
        """Make the call on a thread; return once it is held."""

        def work() -> object:
            self._thread = threading.get_ident()
            return call()

        future = self._pool.submit(work)
        assert self._arrived.wait(LIMIT_S)
        return future

    def beside(self, call: Callable[[], object]) -> Future[object]:
        """Make a call on another thread."""
        return self._pool.submit(call)

    def let_go(self, *futures: Future[object]) -> None:
        """Let it end, and wait for calls."""
        self._may_go.set()
        for future in futures:
            future.result(LIMIT_S)

    def close(self) -> None:
        self._may_go.set()
        self._pool.shutdown()


@pytest.fixture
def sql(postgres_settings: DatabaseSettings) -> Sql:
    return Sql(postgres_settings)


@pytest.fixture
def in_parts(postgres: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write outcomes in a transaction of several messages, which can be held."""
    monkeypatch.setattr(postgres.jobs, "_plain", None)


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any, str], Held]]:
    made: list[Held] = []

    def make(owner: Any, name: str) -> Held:
        made.append(Held(monkeypatch, owner, name))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.usefixtures("in_parts")
def test_the_first_to_finish_commits_last(
    postgres: Storage, hold: Callable[[Any, str], Held]
) -> None:
    """The second one finds a job unfinished whose end is not committed."""
    batch_id, (first, second) = batch_of(postgres, 2)
    held = hold(Settlement, "settle")
    ending = held.start(end(postgres, first))

    assert end(postgres, second)() == set()
    assert postgres.batches.get(batch_id).unfinished == 1
    assert told(postgres) == 0
    held.let_go(ending)

    assert postgres.batches.get(batch_id).state is BatchState.DONE
    assert told(postgres) == 1


def test_the_last_end_comes_while_another_process_folds(
    postgres: Storage, hold: Callable[[Any, str], Held]
) -> None:
    """Which sees too little, and keeps the one that could see all from looking."""
    batch_id, (first, second) = batch_of(postgres, 2)
    finish(postgres, first, Done())
    held = hold(settlement, "reach")
    folding = held.start(lambda: postgres.batches.fold([batch_id]))

    assert end(postgres, second)() == {batch_id}
    held.let_go(folding)
    assert told(postgres) == 0
    assert postgres.batches.fold([batch_id]) == set()

    assert postgres.batches.get(batch_id).state is BatchState.DONE
    assert told(postgres) == 1
    assert postgres.batches.fold([batch_id]) == set()
    assert told(postgres) == 1


def test_a_batch_does_not_end_while_a_job_is_added(
    postgres: Storage, hold: Callable[[Any, str], Held]
) -> None:
    batch_id, (first, second) = batch_of(postgres, 2)
    held = hold(Tying, "finish")
    adding = held.start(lambda: postgres.batches.add(batch_id, [NewJob("part")]))

    end(postgres, first)()
    assert end(postgres, second)() == {batch_id}
    held.let_go(adding)
    assert postgres.batches.fold([batch_id]) == set()

    batch = postgres.batches.get(batch_id)
    assert (batch.total, batch.unfinished, batch.completed_at) == (3, 1, None)
    assert told(postgres) == 0
    assert end(postgres, claim_one(postgres))() == set()
    assert told(postgres) == 1


def test_nothing_is_added_to_a_batch_that_is_about_to_end(
    postgres: Storage, hold: Callable[[Any, str], Held], sql: Sql
) -> None:
    batch_id, (first, second) = batch_of(postgres, 2)
    finish(postgres, first, Done())
    finish(postgres, second, Done())
    held = hold(settlement, "reach")
    folding = held.start(lambda: postgres.batches.fold([batch_id]))
    adding = held.beside(lambda: postgres.batches.add(batch_id, [NewJob("part")]))
    wait_until(lambda: sql.lock_waiters, "the addition waits")

    held.let_go(folding)

    with pytest.raises(BatchEndedError):
        adding.result(LIMIT_S)
    assert postgres.batches.get(batch_id).total == 2


@pytest.mark.usefixtures("in_parts")
def test_a_job_that_waits_for_one_that_ends_just_now(
    postgres: Storage, hold: Callable[[Any, str], Held]
) -> None:
    parent = enqueue(postgres)
    held = hold(Settlement, "settle")
    job = claim_one(postgres)
    other = postgres.jobs.enqueue(NewJob("first", queue_name="child", after=[parent]))
    ending = held.start(lambda: finish(postgres, job, Done("7")))

    adding = held.beside(
        lambda: postgres.jobs.enqueue(
            NewJob("second", queue_name="child", after=[parent])
        )
    )
    held.let_go(ending, adding)

    assert postgres.job_reader.get(parent).status is JobStatus.DONE
    kinds = sorted(job.kind for job in postgres.jobs.claim("child", OWNER, 5))
    assert kinds == ["first", "second"]
    assert postgres.links.parents_of(other.id)[0].result == "7"


def test_a_job_that_ends_while_one_begins_to_wait_for_it(
    postgres: Storage, hold: Callable[[Any, str], Held], sql: Sql
) -> None:
    parent = enqueue(postgres)
    job = claim_one(postgres)
    held = hold(Tying, "finish")
    adding = held.start(
        lambda: postgres.jobs.enqueue(
            NewJob("child", queue_name="child", after=[parent])
        )
    )
    ending = held.beside(lambda: finish(postgres, job, Done("7")))
    wait_until(lambda: sql.lock_waiters, "the end waits")

    held.let_go(adding, ending)

    (child,) = postgres.jobs.claim("child", OWNER)
    assert postgres.links.parents_of(child.id)[0].result == "7"


def test_an_end_that_is_stored_twice_counts_once(postgres: Storage) -> None:
    """The answer to the commit was lost."""
    batch_id, (first, second) = batch_of(postgres, 2)
    jobs = lossy_jobs(postgres.database)
    for job in (first, second):
        assert jobs.finish(OWNER, [JobUpdate(job, JobStatus.DONE)]) == []

    assert postgres.batches.fold([batch_id]) == set()
    assert postgres.batches.get(batch_id).done == 2
    assert told(postgres) == 1


def test_a_job_that_is_added_twice_is_linked_and_counted_once(
    postgres: Storage, sql: Sql
) -> None:
    parent = enqueue(postgres)
    created = postgres.batches.create(NewBatch("report"), is_sealed=False)

    child = lossy_jobs(postgres.database).enqueue(
        NewJob("child", queue_name="child", after=[parent], batch_id=created.id)
    )

    assert not child.is_deduped
    assert postgres.batches.get(created.id).total == 1
    assert sql.value("SELECT COUNT(*) FROM forge_link") == 1


def test_a_retry_waits_for_a_cancellation_that_is_being_stored(
    postgres: Storage, sql: Sql, hold: Callable[[Any, str], Held]
) -> None:
    """It would take back that of the batch around, and leave the inner one to end."""
    batches = postgres.batches
    outer = batches.create(NewBatch("outer"), is_sealed=False).id
    inner = batches.create(NewBatch("inner", within=outer), [NewJob("part")]).id
    held = hold(BatchStore, "_cancel_inner")
    cancelling = held.start(lambda: batches.cancel(outer))
    retrying = held.beside(lambda: batches.retry(inner))
    wait_until(lambda: sql.lock_waiters, "the retry waits")
    held.let_go(cancelling, retrying)

    batches.tend()
    assert batches.get(outer).cancel_requested_at is None
    assert batches.get(inner).cancel_requested_at is None
    assert batches.get(inner).dead == 0
