"""What an operator does to one job, and the counts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from flask_forge_jobs.errors import JobNotFoundError, JobStateError, QueueNotFoundError
from flask_forge_jobs.model.activity import EventType
from flask_forge_jobs.model.bulk import CancelOutcome, DeleteOutcome
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import Job, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import Dead, Failed, Throttled
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs import admin as job_admin
from tests.support.jobs import (
    OWNER,
    QUEUE,
    RETRY_DELAY_S,
    claim_one,
    enqueue,
    enqueue_in,
    job_with,
    run,
)
from tests.support.sql import Sql
from tests.support.threads import Heard

UNIQUE_KEYS = (
    "CREATE UNIQUE INDEX forge_job_dedupe ON forge_job (dedupe_key) "
    "WHERE dedupe_key IS NOT NULL AND status IN ('pending', 'in_progress', 'failed')"
)
FINISHED = (JobStatus.DONE, JobStatus.DEAD)


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


# -- cancel ------------------------------------------------------------------------


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.FAILED])
@pytest.mark.parametrize(
    ("reason", "message"),
    [
        (None, "cancelled by user"),
        ("  ", "cancelled by user"),
        (" ordered twice ", "cancelled by user: ordered twice"),
    ],
)
def test_cancel_ends_a_waiting_job(
    storage: Storage, status: JobStatus, reason: str | None, message: str
) -> None:
    job_id = job_with(storage, status)
    before = storage.job_reader.get(job_id)

    assert storage.job_admin.cancel(job_id, reason) is CancelOutcome.CANCELLED

    dead = storage.job_reader.get(job_id)
    assert (dead.status, dead.last_error) == (JobStatus.DEAD, message)
    assert dead.completed_at is not None
    assert dead.attempts == before.attempts
    assert [entry.message for entry in dead.error_history] == [
        *(entry.message for entry in before.error_history),
        message,
    ]
    assert storage.jobs.claim(QUEUE, OWNER) == []


def test_cancel_asks_a_running_job_to_stop(storage: Storage) -> None:
    job_id = job_with(storage, JobStatus.IN_PROGRESS)

    outcome = storage.job_admin.cancel(job_id, "no longer needed")

    assert outcome is CancelOutcome.CANCEL_REQUESTED
    assert storage.jobs.cancelled(OWNER) == [job_id]


def test_cancel_gives_the_key_back(storage: Storage) -> None:
    first = enqueue(storage, key="once")

    storage.job_admin.cancel(first)

    assert enqueue(storage, key="once") != first


@pytest.mark.parametrize("status", FINISHED)
def test_cancel_of_a_finished_job_is_an_error(
    storage: Storage, status: JobStatus
) -> None:
    before = storage.job_reader.get(job_with(storage, status))

    with pytest.raises(JobStateError) as caught:
        storage.job_admin.cancel(before.id)

    assert (caught.value.job_id, caught.value.status) == (before.id, status)
    assert storage.job_reader.get(before.id) == before


def test_cancel_of_an_unknown_job_is_an_error(storage: Storage) -> None:
    with pytest.raises(JobNotFoundError):
        storage.job_admin.cancel("unknown")


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
    """Dead after five of five means five more tries; errors stay"""
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
    """requeue_single_skips_when_dedupe_sibling_is_active, with a dead job"""
    dead = enqueue(storage, key="once")
    run(storage, Dead("no"))
    before = storage.job_reader.get(dead)
    holder = enqueue(storage, key="once")

    assert storage.job_admin.requeue(dead) is False

    assert storage.job_reader.get(dead) == before
    assert status_of(storage, holder) is JobStatus.PENDING


def test_requeue_wakes_the_queue(storage: Storage) -> None:
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
    job_id = job_with(storage, JobStatus.FAILED)

    assert storage.job_admin.run_now(job_id) is True

    assert claim_one(storage).attempts == 2
    assert status_of(storage, job_id) is JobStatus.IN_PROGRESS


def test_run_now_never_moves_an_overdue_job_back(storage: Storage, sql: Sql) -> None:
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
    job_id = enqueue_in(storage, sql, 600, queue_name="mail")
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        storage.job_admin.run_now(job_id)
        assert heard.wait_for("mail")
    finally:
        listener.stop()


# -- reschedule --------------------------------------------------------------------


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.FAILED])
def test_reschedule_defers_a_waiting_job(
    storage: Storage, sql: Sql, status: JobStatus
) -> None:
    job_id = job_with(storage, status)
    later = from_micros(sql.now_us()) + timedelta(seconds=7200)

    storage.job_admin.reschedule(job_id, run_at=later)

    job = storage.job_reader.get(job_id)
    assert (job.status, job.scheduled_at) == (status, later)
    assert storage.jobs.claim(QUEUE, OWNER) == []
    sql.age(7300)
    assert claim_one(storage).id == job_id


def test_reschedule_to_the_past_means_now(storage: Storage, sql: Sql) -> None:
    job_id = enqueue_in(storage, sql, 600)
    before_us = sql.now_us()

    storage.job_admin.reschedule(job_id, run_at=from_micros(0))

    assert storage.job_reader.get(job_id).scheduled_at >= from_micros(before_us)
    assert claim_one(storage).id == job_id


def test_reschedule_changes_urgency_and_queue(storage: Storage) -> None:
    storage.queues.ensure("other")
    first, second = enqueue(storage, key="held"), enqueue(storage)
    before = storage.job_reader.get(first)

    storage.job_admin.reschedule(second, priority=-5)
    storage.job_admin.reschedule(first, queue_name="other")

    assert claim_one(storage).id == second
    moved = storage.job_reader.get(first)
    assert (moved.queue_name, moved.scheduled_at) == ("other", before.scheduled_at)
    assert enqueue(storage, key="held") == first
    assert claim_one(storage, queue_name="other").id == first


def test_reschedule_of_nothing_changes_nothing(storage: Storage, sql: Sql) -> None:
    before = storage.job_reader.get(enqueue_in(storage, sql, 600))

    storage.job_admin.reschedule(before.id)

    assert storage.job_reader.get(before.id) == before


def test_reschedule_refuses_an_unknown_queue(storage: Storage) -> None:
    before = storage.job_reader.get(enqueue(storage))

    with pytest.raises(QueueNotFoundError):
        storage.job_admin.reschedule(before.id, queue_name="nowhere", priority=3)

    assert storage.job_reader.get(before.id) == before


@pytest.mark.parametrize("status", [JobStatus.IN_PROGRESS, *FINISHED])
def test_reschedule_refuses_other_states(storage: Storage, status: JobStatus) -> None:
    before = storage.job_reader.get(job_with(storage, status))

    with pytest.raises(JobStateError):
        storage.job_admin.reschedule(before.id, priority=1)

    assert storage.job_reader.get(before.id) == before


def test_reschedule_of_an_unknown_job_is_an_error(storage: Storage) -> None:
    with pytest.raises(JobNotFoundError):
        storage.job_admin.reschedule("unknown", priority=1)


def test_reschedule_wakes_the_queue(storage: Storage) -> None:
    storage.queues.ensure("mail")
    job_id = enqueue(storage)
    heard = Heard()
    listener = storage.database.listen(heard)
    try:
        storage.job_admin.reschedule(job_id, queue_name="mail")
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


def test_no_count_stays_of_a_kind_without_jobs(storage: Storage, sql: Sql) -> None:
    jobs = storage.jobs.enqueue_many([NewJob(f"k{n}") for n in range(5)])
    for job in jobs[1:]:
        storage.job_admin.delete(job.id)

    storage.job_admin.fold_counts(0)

    assert sql.run("SELECT kind, jobs FROM forge_job_count") == [("k0", 1)]


def test_counts_follow_any_sql(storage: Storage, sql: Sql) -> None:
    """I8: the database itself counts, whatever statement changed the rows"""
    storage.jobs.enqueue_many(
        [NewJob("noop", queue_name=f"q{n % 3}") for n in range(30)]
    )
    for statement in (
        "UPDATE forge_job SET status = 'done' WHERE queue_name = 'q0'",
        "UPDATE forge_job SET queue_name = 'q9' WHERE queue_name = 'q1'",
        "UPDATE forge_job SET kind = 'x' WHERE queue_name = 'q9'",
        "UPDATE forge_job SET deferred = TRUE WHERE queue_name = 'q2'",
        "UPDATE forge_job SET priority = priority + 1",
        "DELETE FROM forge_job WHERE queue_name = 'q9'",
        "UPDATE forge_job SET status = 'pending' WHERE status = 'none at all'",
    ):
        sql.run(statement)
        sql.assert_counts_equal_rows()

    storage.job_admin.fold_counts(0)

    assert storage.job_reader.statistics()["q0"].counts.done == 10


@pytest.fixture
def _keys_are_not_unique(sql: Sql) -> Iterator[None]:
    """As while rows are brought in from elsewhere; the index is there again behind."""
    sql.run("DROP INDEX forge_job_dedupe")
    yield
    sql.run("DELETE FROM forge_job")
    sql.run(UNIQUE_KEYS)


@pytest.mark.usefixtures("_keys_are_not_unique")
def test_a_failed_job_whose_key_another_one_holds_is_ended(
    storage: Storage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_admin, "BATCH", 2)
    keys = {
        "waits": (JobStatus.FAILED, JobStatus.FAILED, JobStatus.PENDING),
        "runs": (JobStatus.FAILED, JobStatus.IN_PROGRESS),
        "failed": (JobStatus.FAILED, JobStatus.FAILED),
        "ended": (JobStatus.FAILED, JobStatus.DONE, JobStatus.DEAD),
        "alone": (JobStatus.FAILED,),
    }
    # Each in a queue of its own, or one would be claimed in another's place.
    ids = {
        key: [
            job_with(storage, status, queue_name=f"{key}-{number}")
            for number, status in enumerate(statuses)
        ]
        for key, statuses in keys.items()
    }
    unkeyed = [job_with(storage, JobStatus.FAILED, queue_name=q) for q in "ab"]
    for key, job_ids in ids.items():
        for job_id in job_ids:
            sql.run("UPDATE forge_job SET dedupe_key = ? WHERE id = ?", key, job_id)
    before = storage.job_reader.get(ids["waits"][0])

    assert storage.job_admin.cleanup_superseded_retries() == 4
    assert storage.job_admin.cleanup_superseded_retries() == 0

    superseded = [*ids["waits"][:2], ids["runs"][0], ids["failed"][0]]
    others = {*sum(ids.values(), unkeyed)} - {*superseded}
    for job_id in superseded:
        job = storage.job_reader.get(job_id)
        assert (job.status, job.last_error) == (
            JobStatus.DEAD,
            "superseded by active sibling",
        )
        assert job.completed_at is not None
        assert job.error_history[-1].message == job.last_error
    assert len(storage.job_reader.get(superseded[0]).error_history) == (
        len(before.error_history) + 1
    )
    for job_id in others:
        assert storage.job_reader.get(job_id).last_error != (
            "superseded by active sibling"
        )
    sql.age(2)  # a second passes before they are told
    events = storage.activity.latest_events(50).events
    ended = {each.job_id for each in events if each.type is EventType.DEAD}
    assert {*superseded} <= ended
    sql.assert_counts_equal_rows()
    sql.run(UNIQUE_KEYS)  # they are unique now
    sql.run("DROP INDEX forge_job_dedupe")
