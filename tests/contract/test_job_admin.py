"""What an operator does to jobs, one by one and in bulk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import (
    DeleteOutcome,
    DeleteReport,
    Job,
    JobStatus,
    NewJob,
    Walk,
)
from flask_forge_jobs.model.outcomes import Dead, Done, Failed, Outcome, Throttled
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import (
    OWNER,
    QUEUE,
    RETRY_DELAY_S,
    claim_one,
    enqueue,
    enqueue_in,
    finish,
    run,
)
from tests.support.sql import Sql
from tests.support.threads import Heard

FINISHED = (JobStatus.DONE, JobStatus.DEAD)
NOW = datetime(2100, 1, 1, tzinfo=UTC)


def job_with(storage: Storage, status: JobStatus, *, queue_name: str = QUEUE) -> str:
    """Make one job that has come to be in a state."""
    job_id = enqueue(storage, queue_name=queue_name)
    if status is JobStatus.PENDING:
        return job_id
    job = claim_one(storage, queue_name=queue_name)
    endings: dict[JobStatus, Outcome] = {
        JobStatus.DONE: Done("1"),
        JobStatus.FAILED: Failed("no"),
        JobStatus.DEAD: Dead("no"),
    }
    if status in endings:
        finish(storage, job, endings[status])
    return job_id


def status_of(storage: Storage, job_id: str) -> JobStatus:
    return storage.job_reader.get(job_id).status


# -- delete ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", [s for s in JobStatus if s is not JobStatus.IN_PROGRESS]
)
def test_delete_removes_a_job_that_is_not_running(
    storage: Storage, status: JobStatus
) -> None:
    """delete_pending_still_removes_row"""
    job_id = job_with(storage, status)

    assert storage.job_admin.delete(job_id) is DeleteOutcome.DELETED

    with pytest.raises(JobNotFoundError):
        storage.job_reader.get(job_id)
    assert storage.job_admin.delete(job_id) is DeleteOutcome.NOT_FOUND


def test_delete_asks_a_running_job_to_stop(storage: Storage, sql: Sql) -> None:
    """delete_in_progress_sets_cancel_flag_and_keeps_row"""
    job_id = job_with(storage, JobStatus.IN_PROGRESS)

    assert storage.job_admin.delete(job_id) is DeleteOutcome.CANCEL_REQUESTED

    asked_at = storage.job_reader.get(job_id).cancel_requested_at
    assert asked_at is not None
    sql.age(60)
    assert storage.job_admin.delete(job_id) is DeleteOutcome.CANCEL_REQUESTED
    again_at = storage.job_reader.get(job_id).cancel_requested_at
    assert again_at == asked_at - timedelta(seconds=60)  # the first time stands


def test_delete_gives_the_key_back(storage: Storage) -> None:
    first = enqueue(storage, key="once")

    storage.job_admin.delete(first)

    assert enqueue(storage, key="once") != first


def test_delete_many_tells_how_many_met_which_end(storage: Storage) -> None:
    running = job_with(storage, JobStatus.IN_PROGRESS)
    ids = [enqueue(storage) for _ in range(1200)]

    report = storage.job_admin.delete_many([*ids, running, "unknown", ids[0], running])

    assert report == DeleteReport(deleted=1200, cancel_requested=1, not_found=1)
    assert status_of(storage, running) is JobStatus.IN_PROGRESS
    assert storage.job_admin.delete_many([]) == DeleteReport()


def test_delete_batch_walks_in_chunks(storage: Storage) -> None:
    """delete_batch_by_status_processes_in_chunks"""
    ids = [enqueue(storage) for _ in range(6)]
    running = claim_one(storage).id

    walks: list[Walk] = []
    after = None
    while True:
        walk = storage.job_admin.delete_batch(JobStatus.PENDING, after=after, limit=2)
        walks.append(walk)
        if walk.examined == 0:
            break
        after = walk.last_id

    assert walks == [
        Walk(2, 2, ids[2]), Walk(2, 2, ids[4]), Walk(1, 1, ids[5]), Walk(0, 0, None),
    ]  # fmt: skip
    assert running == ids[0]
    assert status_of(storage, running) is JobStatus.IN_PROGRESS


def test_delete_batch_can_be_kept_to_one_queue(storage: Storage) -> None:
    enqueue(storage)
    other = enqueue(storage, queue_name="other")

    walk = storage.job_admin.delete_batch(JobStatus.PENDING, queue_name=QUEUE)

    assert (walk.examined, walk.changed) == (1, 1)
    assert status_of(storage, other) is JobStatus.PENDING


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.DONE, JobStatus.DEAD])
def test_delete_batch_takes_only_the_given_status(
    storage: Storage, sql: Sql, status: JobStatus
) -> None:
    ids = {each: job_with(storage, each) for each in (*FINISHED, JobStatus.FAILED)}
    kept = job_with(storage, JobStatus.PENDING)

    storage.job_admin.delete_batch(status)

    left = {row[0] for row in sql.run("SELECT id FROM forge_job")}
    assert left == {kept, *ids.values()} - {ids[status]}


def test_delete_batch_refuses_running_jobs(storage: Storage) -> None:
    """D9"""
    job_id = job_with(storage, JobStatus.IN_PROGRESS)

    with pytest.raises(InvalidInputError) as caught:
        storage.job_admin.delete_batch(JobStatus.IN_PROGRESS)

    assert caught.value.field == "status"
    assert storage.job_reader.get(job_id).cancel_requested_at is None


def test_cancel_batch_asks_running_jobs_to_stop(storage: Storage) -> None:
    """D9"""
    ids = [enqueue(storage) for _ in range(3)]
    storage.jobs.claim(QUEUE, OWNER, 3)
    waiting = enqueue(storage)
    other = job_with(storage, JobStatus.IN_PROGRESS, queue_name="other")

    first = storage.job_admin.cancel_batch(queue_name=QUEUE, limit=2)
    second = storage.job_admin.cancel_batch(queue_name=QUEUE, after=first.last_id)
    end = storage.job_admin.cancel_batch(queue_name=QUEUE, after=second.last_id)

    assert [first, second, end] == [
        Walk(2, 2, ids[1]), Walk(1, 1, ids[2]), Walk(0, 0, None),
    ]  # fmt: skip
    assert set(storage.jobs.cancelled(OWNER)) == set(ids)
    assert storage.job_reader.get(waiting).cancel_requested_at is None
    assert storage.job_reader.get(other).cancel_requested_at is None


# -- retention ---------------------------------------------------------------------


@pytest.mark.parametrize("status", FINISHED)
def test_finished_jobs_go_once_they_are_old_enough(
    storage: Storage, sql: Sql, status: JobStatus
) -> None:
    """D38"""
    old = job_with(storage, status)
    sql.age(3600)
    young = job_with(storage, status)
    cutoff = from_micros(sql.now_us()) - timedelta(seconds=1800)

    assert storage.job_admin.delete_finished_before(QUEUE, status, cutoff) == 1
    assert storage.job_admin.delete_finished_before(QUEUE, status, cutoff) == 0

    assert [row[0] for row in sql.run("SELECT id FROM forge_job")] == [young]
    assert old != young


def test_retention_works_in_batches(storage: Storage, sql: Sql) -> None:
    """D38"""
    sql.seed(1100, status="done")

    removed = [
        storage.job_admin.delete_finished_before(QUEUE, JobStatus.DONE, NOW)
        for _ in range(4)
    ]

    assert removed == [500, 500, 100, 0]


def test_retention_keeps_to_its_queue_and_status(storage: Storage, sql: Sql) -> None:
    kept = [
        job_with(storage, JobStatus.DONE),
        job_with(storage, JobStatus.DEAD, queue_name="other"),
        job_with(storage, JobStatus.FAILED),
        job_with(storage, JobStatus.IN_PROGRESS),
        enqueue(storage, queue_name="waiting"),
    ]

    assert storage.job_admin.delete_finished_before(QUEUE, JobStatus.DEAD, NOW) == 0
    assert storage.job_admin.delete_finished_before("none", JobStatus.DONE, NOW) == 0
    assert storage.job_admin.delete_finished_before(QUEUE, JobStatus.FAILED, NOW) == 0

    assert len(sql.run("SELECT id FROM forge_job")) == len(kept)


@pytest.mark.parametrize(
    ("cutoff", "removed"),
    [
        (datetime.min.replace(tzinfo=UTC), 0),
        (datetime(1, 1, 2, tzinfo=UTC), 0),
        (datetime.max.replace(tzinfo=UTC), 1),
    ],
)
def test_retention_takes_any_instant(
    storage: Storage, cutoff: datetime, removed: int
) -> None:
    """D38: extreme settings overflow nothing"""
    job_with(storage, JobStatus.DONE)

    found = storage.job_admin.delete_finished_before(QUEUE, JobStatus.DONE, cutoff)

    assert found == removed


def test_retention_of_a_queue_without_settings(storage: Storage, sql: Sql) -> None:
    """D38"""
    job_with(storage, JobStatus.DONE, queue_name="orphan")
    sql.run("DELETE FROM forge_queue")

    removed = storage.job_admin.delete_finished_before("orphan", JobStatus.DONE, NOW)

    assert removed == 1


# -- requeue -----------------------------------------------------------------------


def exhausted(storage: Storage, sql: Sql) -> Job:
    """Make a job that died after five of five attempts and some throttles."""
    job_id = enqueue(storage)
    run(storage, Throttled(1, scope="job"))
    for attempt in range(5):
        sql.age(RETRY_DELAY_S + 1)
        run(storage, Failed(f"try {attempt + 1}"))
    return storage.job_reader.get(job_id)


def test_requeue_gives_a_full_new_budget(storage: Storage, sql: Sql) -> None:
    """D14: dead after five of five means five more tries; errors stay"""
    dead = exhausted(storage, sql)
    assert (dead.status, dead.attempts, dead.throttle_attempts) == (
        JobStatus.DEAD,
        5,
        1,
    )

    assert storage.job_admin.requeue(dead.id) is True

    fresh = storage.job_reader.get(dead.id)
    assert (fresh.status, fresh.attempts) == (JobStatus.PENDING, 0)
    assert (fresh.throttle_attempts, fresh.crashes) == (0, 0)
    assert (fresh.started_at, fresh.completed_at) == (None, None)
    assert fresh.last_error == dead.last_error
    assert fresh.error_history == dead.error_history
    for attempt in range(1, 6):
        assert run(storage, Failed("again")).attempts == attempt
        sql.age(RETRY_DELAY_S + 1)
    assert status_of(storage, dead.id) is JobStatus.DEAD


def test_requeue_makes_a_failed_job_due_now(storage: Storage) -> None:
    job_id = job_with(storage, JobStatus.FAILED)

    assert storage.job_admin.requeue(job_id) is True

    assert claim_one(storage).id == job_id


@pytest.mark.parametrize(
    "status", [JobStatus.PENDING, JobStatus.IN_PROGRESS, JobStatus.DONE]
)
def test_requeue_leaves_other_states_alone(storage: Storage, status: JobStatus) -> None:
    before = storage.job_reader.get(job_with(storage, status))

    assert storage.job_admin.requeue(before.id) is False

    assert storage.job_reader.get(before.id) == before
    assert storage.job_admin.requeue("unknown") is False


def test_requeue_skips_a_job_whose_key_is_held(storage: Storage) -> None:
    """requeue_single_skips_when_dedupe_sibling_is_active, adapted to D15"""
    dead = enqueue(storage, key="once")
    run(storage, Dead("no"))
    before = storage.job_reader.get(dead)
    holder = enqueue(storage, key="once")

    assert storage.job_admin.requeue(dead) is False

    assert storage.job_reader.get(dead) == before
    assert status_of(storage, holder) is JobStatus.PENDING


def test_requeue_batch_skips_conflicts(storage: Storage) -> None:
    """requeue_batch_skips_dedupe_conflicts_instead_of_aborting, adapted to D15"""
    blocked = enqueue(storage, key="held")
    run(storage, Dead("no"))
    free = enqueue(storage, key="free")
    run(storage, Dead("no"))
    holder = enqueue(storage, key="held")

    walk = storage.job_admin.requeue_batch(JobStatus.DEAD)

    assert (walk.examined, walk.changed, walk.skipped) == (2, 1, 1)
    assert walk.last_id == free
    assert status_of(storage, blocked) is JobStatus.DEAD
    assert status_of(storage, free) is JobStatus.PENDING
    assert status_of(storage, holder) is JobStatus.PENDING


def test_requeue_batch_takes_one_of_several_with_one_key(storage: Storage) -> None:
    """D12"""
    ids = []
    for _ in range(3):
        ids.append(enqueue(storage, key="once"))
        run(storage, Dead("no"))
    plain = job_with(storage, JobStatus.DEAD)

    walk = storage.job_admin.requeue_batch(JobStatus.DEAD)

    assert (walk.examined, walk.changed, walk.skipped) == (4, 2, 2)
    assert status_of(storage, ids[0]) is JobStatus.PENDING
    assert [status_of(storage, job_id) for job_id in ids[1:]] == [JobStatus.DEAD] * 2
    assert status_of(storage, plain) is JobStatus.PENDING


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.DEAD])
def test_requeue_batch_resets_pending(storage: Storage, status: JobStatus) -> None:
    """requeue_batch_by_status_resets_pending"""
    ids = [job_with(storage, status) for _ in range(3)]
    done = job_with(storage, JobStatus.DONE)

    walk = storage.job_admin.requeue_batch(status)

    assert walk == Walk(3, 3, ids[-1])
    assert [job.id for job in storage.jobs.claim(QUEUE, OWNER, 9)] == ids
    assert status_of(storage, done) is JobStatus.DONE


def test_a_walk_of_nothing_but_conflicts_ends(storage: Storage) -> None:
    """D10, D13: short counts end nothing early, and every walk ends"""
    for n in range(5):
        enqueue(storage, key=f"key-{n}")
        run(storage, Dead("no"))
        enqueue(storage, key=f"key-{n}", priority=9)
    wanted = enqueue(storage)
    run(storage, Dead("no"))

    walks: list[Walk] = []
    after = None
    while not walks or walks[-1].examined:
        walk = storage.job_admin.requeue_batch(JobStatus.DEAD, after=after, limit=2)
        walks.append(walk)
        after = walk.last_id

    assert [walk.examined for walk in walks] == [2, 2, 2, 0]
    assert [walk.changed for walk in walks] == [0, 0, 1, 0]
    assert status_of(storage, wanted) is JobStatus.PENDING


@pytest.mark.parametrize(
    "status", [JobStatus.PENDING, JobStatus.IN_PROGRESS, JobStatus.DONE]
)
def test_requeue_batch_refuses_other_states(
    storage: Storage, status: JobStatus
) -> None:
    """D10"""
    before = storage.job_reader.get(job_with(storage, status))

    with pytest.raises(InvalidInputError):
        storage.job_admin.requeue_batch(status)

    assert storage.job_reader.get(before.id) == before


def test_requeue_batch_can_be_kept_to_one_queue(storage: Storage) -> None:
    mine = job_with(storage, JobStatus.DEAD)
    other = job_with(storage, JobStatus.DEAD, queue_name="other")

    assert (
        storage.job_admin.requeue_batch(JobStatus.DEAD, queue_name="other").changed == 1
    )

    assert status_of(storage, mine) is JobStatus.DEAD
    assert status_of(storage, other) is JobStatus.PENDING


def test_requeue_many_counts_what_it_changed(storage: Storage) -> None:
    ids = [job_with(storage, JobStatus.FAILED) for _ in range(2)]
    done = job_with(storage, JobStatus.DONE)

    assert storage.job_admin.requeue_many([*ids, done, ids[0], "unknown"]) == 2
    assert storage.job_admin.requeue_many([]) == 0


def test_requeue_wakes_the_queue(storage: Storage) -> None:
    """D22"""
    job_id = job_with(storage, JobStatus.DEAD, queue_name="mail")
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        storage.job_admin.requeue(job_id)
        assert heard.wait_for("mail")
    finally:
        listener.stop()


# -- run now -----------------------------------------------------------------------


def test_run_now_lifts_the_wait_of_a_scheduled_job(storage: Storage, sql: Sql) -> None:
    """run_now_advances_pending_scheduled_at"""
    job_id = enqueue_in(storage, sql, 600)
    assert storage.jobs.claim(QUEUE, OWNER) == []

    assert storage.job_admin.run_now(job_id) is True

    assert claim_one(storage).id == job_id


def test_run_now_lifts_the_delay_of_a_retry(storage: Storage) -> None:
    """D22"""
    job_id = job_with(storage, JobStatus.FAILED)

    assert storage.job_admin.run_now(job_id) is True

    assert claim_one(storage).attempts == 2
    assert status_of(storage, job_id) is JobStatus.IN_PROGRESS


def test_run_now_never_moves_an_overdue_job_back(storage: Storage, sql: Sql) -> None:
    """D22"""
    job_id = enqueue(storage)
    sql.age(60)
    before = storage.job_reader.get(job_id)

    assert storage.job_admin.run_now(job_id) is True

    assert storage.job_reader.get(job_id) == before


@pytest.mark.parametrize("status", [JobStatus.IN_PROGRESS, *FINISHED])
def test_run_now_does_nothing_in_other_states(
    storage: Storage, status: JobStatus
) -> None:
    """run_now_no_op_on_non_pending"""
    before = storage.job_reader.get(job_with(storage, status))

    assert storage.job_admin.run_now(before.id) is False

    assert storage.job_reader.get(before.id) == before


def test_run_now_of_an_unknown_job_is_an_error(storage: Storage) -> None:
    with pytest.raises(JobNotFoundError) as caught:
        storage.job_admin.run_now("unknown")

    assert caught.value.job_id == "unknown"


def test_run_now_wakes_the_queue(storage: Storage, sql: Sql) -> None:
    """D22"""
    job_id = enqueue_in(storage, sql, 600, queue_name="mail")
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        storage.job_admin.run_now(job_id)
        assert heard.wait_for("mail")
    finally:
        listener.stop()


# -- counts ------------------------------------------------------------------------


def test_fold_counts_changes_no_sum(storage: Storage, sql: Sql) -> None:
    """I8"""
    for status in JobStatus:
        job_with(storage, status, queue_name=status.value)
    before = sql.maintained_counts()

    storage.job_admin.fold_counts(0)
    storage.job_admin.fold_counts(0)

    assert sql.maintained_counts() == before == sql.counted_rows()
    rows = sql.run("SELECT jobs FROM forge_job_count WHERE jobs <> 0")
    assert len(rows) == len(before)


def test_counts_follow_any_sql(storage: Storage, sql: Sql) -> None:
    """I8: the database itself counts, whatever statement changed the rows"""
    storage.jobs.enqueue_many(
        [NewJob("noop", queue_name=f"q{n % 3}") for n in range(30)]
    )
    for statement in (
        "UPDATE forge_job SET status = 'done' WHERE queue_name = 'q0'",
        "UPDATE forge_job SET queue_name = 'q9', kind = 'x' WHERE queue_name = 'q1'",
        "UPDATE forge_job SET deferred = TRUE WHERE queue_name = 'q2'",
        "UPDATE forge_job SET priority = priority + 1",
        "DELETE FROM forge_job WHERE queue_name = 'q9'",
        "UPDATE forge_job SET status = 'pending' WHERE status = 'none at all'",
    ):
        sql.run(statement)
        sql.assert_counts_equal_rows()

    storage.job_admin.fold_counts(0)

    assert storage.job_reader.statistics()["q0"].counts.done == 10
