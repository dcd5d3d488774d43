"""Outcomes and claims in one call: what is plain, and what is held back."""

from __future__ import annotations

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.batches import BatchState, NewBatch
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.queue import JobQueue
from tests.support.jobs import OWNER, QUEUE, enqueue
from tests.support.lossy import LossyDatabase
from tests.support.sql import Sql
from tests.support.threads import Heard


def test_a_refused_outcome_hinders_no_claim(storage: Storage) -> None:
    ids = [enqueue(storage) for _ in range(4)]
    kept, lost = storage.jobs.claim(QUEUE, OWNER, 2)
    lost = lost._replace(claim=lost.claim + 1)
    updates = [JobUpdate(each, JobStatus.DONE) for each in (lost, kept)]

    exchange = storage.jobs.exchange(OWNER, updates, {QUEUE: 5})

    assert exchange.refused == [lost.id]
    assert [each.id for each in exchange.claimed] == ids[2:]
    assert storage.job_reader.get(kept.id).status is JobStatus.DONE


@pytest.mark.parametrize(
    "change",
    [
        "worker_id = 'another'",
        "claims = claims + 1",
        "status = 'failed', worker_id = NULL, heartbeat_at = NULL",
        "status = 'done', worker_id = NULL, heartbeat_at = NULL, claims = 2",
    ],
)
def test_a_run_that_was_lost_is_refused_among_others(
    storage: Storage, sql: Sql, change: str
) -> None:
    ids = [enqueue(storage) for _ in range(3)]
    jobs = storage.jobs.claim(QUEUE, OWNER, 3)
    sql.run(f"UPDATE forge_job SET {change} WHERE id = ?", ids[1])
    before = storage.job_reader.get(ids[1])

    refused = storage.jobs.finish(OWNER, [JobUpdate(j, JobStatus.DONE) for j in jobs])

    assert refused == [ids[1]]
    assert storage.job_reader.get(ids[1]) == before
    for each in (ids[0], ids[2]):
        assert storage.job_reader.get(each).status is JobStatus.DONE


def test_a_batch_whose_answer_was_lost_is_not_refused(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transaction that decides about it is no repetition"""
    ids = [enqueue(storage) for _ in range(3)]
    done = [JobUpdate(j, JobStatus.DONE) for j in storage.jobs.claim(QUEUE, OWNER, 2)]
    lossy = LossyDatabase(storage.database)
    monkeypatch.setattr(lossy, "write", storage.database.write)
    clock = SystemClock()
    executor = StoreExecutor(lossy)
    jobs = JobQueue(executor, UlidGenerator(clock), clock, None, storage.recorder)

    exchange = jobs.exchange(OWNER, done, {QUEUE: 2})

    assert exchange.refused == []
    assert storage.jobs.heartbeat(OWNER, {}).owned == {(ids[2], 1)}


def test_results_are_stored_as_they_are(storage: Storage) -> None:
    results = ['"a\\"b\\\\{},\\u0041"', None, "null", "[1,{}]", '"NULL"']
    for _ in results:
        enqueue(storage)
    jobs = storage.jobs.claim(QUEUE, OWNER, len(results))
    updates = [
        JobUpdate(job, JobStatus.DONE, result=result)
        for job, result in zip(jobs, results, strict=True)
    ]

    assert storage.jobs.finish(OWNER, updates) == []

    assert [storage.job_reader.get(job.id).result for job in jobs] == results


def test_an_end_in_one_message_frees_the_jobs_that_wait(storage: Storage) -> None:
    ids = [enqueue(storage) for _ in range(4)]
    jobs = storage.jobs.claim(QUEUE, OWNER, 3)
    child = NewJob("child", queue_name="child", after=[ids[1]])
    child_id = storage.jobs.enqueue(child).id  # its parent runs already
    done = [JobUpdate(job, JobStatus.DONE) for job in jobs]
    heard = Heard()
    listener = storage.database.listen(heard)

    exchange = storage.jobs.exchange(OWNER, done, {QUEUE: 1})
    listener.stop()
    again = storage.jobs.exchange(
        OWNER, [JobUpdate(exchange.claimed[0], JobStatus.DONE)], {QUEUE: 1}
    )

    assert [job.id for job in exchange.claimed] == ids[3:]
    assert [exchange.refused, again.refused, again.claimed] == [[], [], []]
    assert {storage.job_reader.get(each).status for each in ids} == {JobStatus.DONE}
    assert [job.id for job in storage.jobs.claim("child", OWNER, 5)] == [child_id]
    assert "child" in heard.names  # a worker of this process, which may serve both


def test_an_end_in_one_message_counts_in_its_batch(storage: Storage) -> None:
    new = NewBatch("report")
    created = storage.batches.create(new, [NewJob("part") for _ in range(3)])
    jobs = storage.jobs.claim(QUEUE, OWNER, 3)
    lost = jobs[2]._replace(claim=jobs[2].claim + 1)
    updates = [JobUpdate(job, JobStatus.DONE) for job in (*jobs[:2], lost)]

    exchange = storage.jobs.exchange(OWNER, updates, {QUEUE: 5})
    storage.batches.fold(exchange.noted)

    batch = storage.batches.get(created.id)
    assert (exchange.refused, batch.done, batch.unfinished) == ([lost.id], 2, 1)
    storage.jobs.finish(OWNER, [JobUpdate(jobs[2], JobStatus.DONE)])
    storage.batches.tend()
    assert storage.batches.get(created.id).state is BatchState.DONE
