"""Many workers and operators at once, in real threads, on one database."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import QueueFullError
from flask_forge_jobs.model.bulk import DeleteOutcome, JobAction
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.storage.base import Storage, open_storage
from tests.support.jobs import (
    OTHER,
    OWNER,
    QUEUE,
    claim_one,
    enqueue,
    enqueued,
    finish,
    having,
    run,
)
from tests.support.sql import Sql
from tests.support.threads import race, run_together

ROUNDS = 15


def test_two_claimers_never_get_the_same_job(storage: Storage, sql: Sql) -> None:
    """claim_next_skips_locked_under_concurrency"""
    storage.jobs.enqueue_many([NewJob("noop") for _ in range(400)])

    def drain(owner: str) -> list[str]:
        claimed: list[str] = []
        while jobs := storage.jobs.claim(QUEUE, owner, 7):
            claimed.extend(job.id for job in jobs)
        return claimed

    claimed = run_together([partial(drain, f"owner-{n}") for n in range(6)])

    everything = list(itertools.chain.from_iterable(claimed))
    assert len(everything) == len(set(everything)) == 400
    assert sql.value("SELECT COUNT(*) FROM forge_job WHERE attempts = 1") == 400


def test_threads_that_add_at_once_are_answered_as_if_they_came_one_by_one(
    storage: Storage, sql: Sql
) -> None:
    storage.queues.ensure("narrow")
    storage.queues.change("narrow", {"max_pending": 10})

    def add() -> tuple[list[EnqueueResult], int]:
        results, refused = [], 0
        for n in range(12):
            results.append(enqueued(storage))
            results.append(enqueued(storage, key=f"key-{n % 5}"))
            try:
                results.append(enqueued(storage, queue_name="narrow"))
            except QueueFullError:
                refused += 1
        return results, refused

    answers = run_together([add] * 6)

    results = [each for ours, _ in answers for each in ours]
    new = {each.id for each in results if not each.is_deduped}
    held = {each.id for each in results if each.is_deduped}
    assert sum(refused for _, refused in answers) == 6 * 12 - 10
    assert len(new) == len([each for each in results if not each.is_deduped])
    assert held <= new
    assert new == {job_id for (job_id,) in sql.run("SELECT id FROM forge_job")}
    assert len(new) == 6 * 12 + 5 + 10


def test_threads_that_claim_and_finish_end_every_job_once(
    storage: Storage, sql: Sql
) -> None:
    """I1, I4, I8"""
    storage.jobs.enqueue_many(
        [NewJob("noop", queue_name=f"q{n % 2}") for n in range(600)]
    )

    def work(owner: str) -> tuple[int, int]:
        ended, refused = 0, 0
        jobs: list[ClaimedJob] = []
        while True:
            done = [JobUpdate(job, JobStatus.DONE) for job in jobs]
            exchange = storage.jobs.exchange(owner, done, {"q0": 3, "q1": 3})
            ended += len(done)
            refused += len(exchange.refused)
            jobs = exchange.claimed
            if not jobs:
                return ended, refused

    results = run_together([partial(work, f"owner-{n}") for n in range(6)])

    assert sum(ended for ended, _ in results) == 600
    assert sum(refused for _, refused in results) == 0
    done = storage.job_reader.statistics()
    assert [done[name].counts.done for name in ("q0", "q1")] == [300, 300]
    assert sql.value("SELECT SUM(attempts) FROM forge_job") == 600


def test_producers_workers_and_operators_together(storage: Storage, sql: Sql) -> None:
    """I8 under everything at once: the counts are checked at the end."""
    produced = threading.Event()

    def produce() -> None:
        for n in range(120):
            enqueue(storage, key=f"key-{n % 7}")
        produced.set()

    def consume(owner: str) -> None:
        endings: list[Outcome] = [Done(), Failed("x"), Dead("y"), Done()]
        outcomes = itertools.cycle(endings)
        while True:
            is_last = produced.is_set()
            jobs = storage.jobs.claim(QUEUE, owner, 4)
            for job in jobs:
                assert finish(storage, job, next(outcomes), owner=owner, delay_s=0)
            if is_last and not jobs:
                return

    def operate() -> None:
        after = None
        while not produced.is_set():
            retried = storage.job_admin.step(
                JobAction.RETRY, having(JobStatus.DEAD), after=after, limit=3
            )
            storage.job_admin.step(JobAction.DELETE, having(JobStatus.DONE), limit=2)
            storage.job_admin.fold_counts(0)
            after = retried.position

    works: list[Callable[[], None]] = [
        produce,
        partial(consume, "a"),
        partial(consume, "b"),
        operate,
    ]
    run_together(works)

    assert sql.value("SELECT COUNT(*) FROM forge_job WHERE status = 'in_progress'") == 0
    duplicates = sql.run(
        "SELECT dedupe_key FROM forge_job WHERE status NOT IN ('done', 'dead') "
        "GROUP BY dedupe_key HAVING COUNT(*) > 1"
    )
    assert duplicates == []


def test_delete_racing_a_claim_never_takes_the_row_from_its_worker(
    storage: Storage,
) -> None:
    for _ in range(ROUNDS):
        job_id = enqueue(storage)

        outcome, claimed = race(
            partial(storage.job_admin.delete, job_id),
            partial(storage.jobs.claim, QUEUE, OWNER),
        )

        if claimed:
            assert outcome is DeleteOutcome.CANCEL_REQUESTED
            assert storage.jobs.cancelled(OWNER) == [job_id]
            assert finish(storage, claimed[0], Done())
        else:
            assert outcome is DeleteOutcome.DELETED


def test_a_delete_of_all_racing_claims_deletes_only_what_waits(
    storage: Storage, sql: Sql
) -> None:
    storage.jobs.enqueue_many([NewJob("noop") for _ in range(300)])

    def claim() -> list[str]:
        return [storage.jobs.claim(QUEUE, OWNER, 5)[0].id for _ in range(10)]

    def delete() -> int:
        changed, after = 0, None
        for _ in range(10):
            step = storage.job_admin.step(
                JobAction.DELETE, having(JobStatus.PENDING), after=after, limit=10
            )
            changed, after = changed + step.change.changed, step.position
        return changed

    _, deleted = race(claim, delete)

    running = storage.jobs.running()
    assert len(running) == 50
    assert storage.jobs.cancelled(OWNER) == []
    assert sql.value("SELECT COUNT(*) FROM forge_job") == 300 - deleted


def test_retention_racing_a_requeue_takes_no_job_that_runs_again(
    storage: Storage, sql: Sql
) -> None:
    sql.seed(400, status="dead")
    ids = [row[0] for row in sql.run("SELECT id FROM forge_job ORDER BY id")]

    def requeue() -> int:
        return sum(storage.job_admin.requeue(job_id) for job_id in ids[::2])

    def sweep() -> int:
        deleted = 0
        for _ in range(15):
            deleted += storage.retention.delete(QUEUE, JobStatus.DEAD, 0, 20)
        return deleted

    requeued, deleted = race(requeue, sweep)

    counts = storage.job_reader.statistics()[QUEUE].counts
    assert (counts.pending, counts.total) == (requeued, 400 - deleted)


def test_requeue_all_racing_a_claim_never_hands_a_job_out_twice(
    storage: Storage, sql: Sql
) -> None:
    for _ in range(ROUNDS):
        enqueue(storage)
        run(storage, Failed("x"))
        sql.age(1000)

        _, claimed = race(
            partial(storage.job_admin.step, JobAction.RETRY, having(JobStatus.FAILED)),
            partial(storage.jobs.claim, QUEUE, OWNER),
        )

        claimed = claimed or storage.jobs.claim(QUEUE, OWNER)
        assert storage.jobs.claim(QUEUE, OTHER) == []
        assert finish(storage, claimed[0], Done())


def test_requeue_racing_an_enqueue_leaves_one_holder_of_the_key(
    storage: Storage,
) -> None:
    """Losing the key meanwhile is not an error"""
    for n in range(ROUNDS):
        key = f"key-{n}"
        dead = enqueue(storage, key=key)
        run(storage, Dead("x"))

        is_requeued, _ = race(
            partial(storage.job_admin.requeue, dead), partial(enqueue, storage, key=key)
        )

        (claimed,) = storage.jobs.claim(QUEUE, OWNER, 5)
        assert (claimed.id == dead) == is_requeued
        assert finish(storage, claimed, Done())


def test_one_run_ended_from_two_threads_ends_once(storage: Storage, sql: Sql) -> None:
    for _ in range(ROUNDS):
        enqueue(storage)
        job = claim_one(storage)

        works: list[Callable[[], bool]] = [
            partial(finish, storage, job, Done()),
            partial(finish, storage, job, Dead("x")),
            lambda: storage.jobs.rescue(storage.jobs.running()) == 1,
        ]
        accepted = run_together(works)

        assert sum(accepted) == 1
        sql.run("DELETE FROM forge_job")


def test_two_reapers_rescue_a_job_once(storage: Storage, sql: Sql) -> None:
    sql.seed(300, status="in_progress")
    observed = storage.jobs.running()

    rescued = run_together([lambda: storage.jobs.rescue(observed)] * 3)

    assert sum(rescued) == 300
    assert sql.value("SELECT SUM(crashes) FROM forge_job") == 300


def test_a_bulk_delete_and_heartbeats_do_not_lock_crosswise(storage: Storage) -> None:
    ids = [result.id for result in storage.jobs.enqueue_many([NewJob("noop")] * 400)]
    storage.jobs.claim(QUEUE, OWNER, 400)

    def beat() -> None:
        for _ in range(5):
            storage.jobs.heartbeat(OWNER, dict.fromkeys(ids[::7], "1"))

    run_together(
        [beat, lambda: storage.job_admin.change(JobAction.DELETE, ids[::-1]), beat]
    )

    assert storage.jobs.heartbeat(OWNER, {}).cancelled == set(ids)


@pytest.mark.parametrize("count", [2])
def test_two_storages_on_one_database_see_each_other(
    storage: Storage, database_settings: DatabaseSettings, count: int
) -> None:
    others = [open_storage(database_settings) for _ in range(count)]
    try:
        job_id = enqueue(storage)
        job = claim_one(others[0])
        assert job.id == job_id
        assert finish(others[1], job, Done())
    finally:
        for other in others:
            other.close()

    assert storage.job_reader.get(job_id).status is JobStatus.DONE


def test_a_thread_that_never_rests_leaves_others_their_turn(storage: Storage) -> None:
    """As one that cancels many jobs, each in a transaction."""
    storage.queues.ensure(QUEUE)
    is_over = threading.Event()

    def never_rest() -> None:
        while not is_over.is_set():
            storage.jobs.heartbeat(OWNER, {})

    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(never_rest)
        try:
            since = time.monotonic()
            for _ in range(20):
                enqueue(storage)
            took_s = time.monotonic() - since
        finally:
            is_over.set()
        busy.result()

    assert took_s < 2.0
