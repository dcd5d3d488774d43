"""Finished jobs go when their queue's retention is over, and nothing else does."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flask_forge_jobs.errors import (
    AlreadyRunningError,
    QueueNotFoundError,
    StorageError,
)
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.queues import CleanupReport, QueueChanges
from flask_forge_jobs.storage import retention
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.pace import BATCH
from flask_forge_jobs.storage.retention import GENTLE_BATCH
from tests.support.jobs import QUEUE, enqueue, job_with
from tests.support.sql import Sql

DAY_S = 86_400
AT_ONCE: QueueChanges = {"retain_done_for_days": 0, "retain_dead_for_days": 0}


def fill(sql: Sql, queue_name: str, prefix: str, count: int = 1) -> None:
    """Store jobs in every state."""
    for status in ("pending", "in_progress", "failed", "done", "dead"):
        sql.seed(
            count, queue_name=queue_name, status=status, prefix=f"{prefix}-{status}"
        )


def left(sql: Sql, queue_name: str) -> list[str]:
    rows = sql.run(
        "SELECT id FROM forge_job WHERE queue_name = ? ORDER BY id", queue_name
    )
    return [row[0] for row in rows]


def test_a_sweep_deletes_what_is_older_than_its_queue_keeps(
    storage: Storage, sql: Sql
) -> None:
    storage.queues.ensure("mail")
    storage.queues.change(
        "mail", {"retain_done_for_days": 1, "retain_dead_for_days": 2}
    )
    fill(sql, "mail", "oldest")
    sql.age(1.5 * DAY_S)
    fill(sql, "mail", "old")
    sql.age(0.75 * DAY_S)

    assert storage.retention.expired() == CleanupReport(1, 1)
    assert storage.retention.sweep() == CleanupReport(1, 1)

    assert left(sql, "mail") == [
        "old-dead-1", "old-done-1", "old-failed-1", "old-in_progress-1",
        "old-pending-1", "oldest-failed-1", "oldest-in_progress-1", "oldest-pending-1",
    ]  # fmt: skip


def test_a_retention_of_zero_days_keeps_nothing_finished(
    storage: Storage, sql: Sql
) -> None:
    storage.queues.ensure("mail")
    storage.queues.change(
        "mail", {"retain_done_for_days": 0, "retain_dead_for_days": 36_500}
    )
    fill(sql, "mail", "x")

    assert storage.retention.sweep() == CleanupReport(done_deleted=1)
    assert len(left(sql, "mail")) == 4


def test_a_queue_that_only_jobs_name_is_swept_by_the_defaults(
    storage: Storage, sql: Sql
) -> None:
    sql.seed(2, queue_name="unregistered", status="done", prefix="old")
    sql.age(8 * DAY_S)
    sql.seed(2, queue_name="unregistered", status="dead", prefix="dead")
    sql.age(8 * DAY_S)

    assert storage.retention.sweep() == CleanupReport(done_deleted=2)


def test_a_sweep_may_be_kept_to_one_queue(storage: Storage, sql: Sql) -> None:
    for name in ("mail", "other"):
        storage.queues.ensure(name)
        storage.queues.change(name, AT_ONCE)
        fill(sql, name, name)

    assert storage.retention.expired("mail") == CleanupReport(1, 1)
    assert storage.retention.sweep("mail") == CleanupReport(1, 1)
    assert len(left(sql, "other")) == 5


@pytest.mark.parametrize("verb", ["sweep", "expired"])
def test_an_unknown_queue_is_an_error(storage: Storage, verb: str) -> None:
    storage.queues.ensure("gone")
    enqueue(storage, queue_name="gone")
    storage.job_admin.delete(enqueue(storage, queue_name="gone"))
    with pytest.raises(QueueNotFoundError):
        getattr(storage.retention, verb)("unknown")


def test_the_expired_jobs_of_many_queues_are_counted(
    storage: Storage, sql: Sql
) -> None:
    names = [f"q{number:02}" for number in range(retention.COUNTED_AT_ONCE)]
    for number, name in enumerate(names):
        storage.queues.ensure(name)
        storage.queues.change(name, AT_ONCE)
        sql.seed(1, queue_name=name, status="done", prefix=f"done-{number}")
    sql.seed(2, queue_name=names[-1], status="dead", prefix="dead")

    assert storage.retention.expired() == CleanupReport(len(names), 2)


def test_more_than_one_batch_is_deleted(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("default")
    storage.queues.change("default", AT_ONCE)
    sql.seed(1203, status="done", prefix="done")
    sql.seed(500, status="dead", prefix="dead")

    assert storage.retention.sweep() == CleanupReport(1203, 500)
    assert left(sql, "default") == []


def test_a_gentle_sweep_takes_small_batches(storage: Storage, sql: Sql) -> None:
    sql.seed(3 * GENTLE_BATCH, status="done", prefix="done")
    sql.age(8 * DAY_S)
    left_over = []

    def is_over() -> bool:
        left_over.append(len(left(sql, "default")))
        return False

    report = storage.retention.sweep("default", is_over=is_over, gently=True)

    assert report == CleanupReport(done_deleted=3 * GENTLE_BATCH)
    sizes = {before - after for before, after in pairwise(left_over)}
    assert sizes == {GENTLE_BATCH, 0}


def test_a_sweep_that_is_cut_says_so(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("default")
    storage.queues.change("default", AT_ONCE)
    sql.seed(700, status="done", prefix="done")

    cut = storage.retention.sweep(max_rows=610)  # no whole number of batches

    assert cut == CleanupReport(done_deleted=610, is_complete=False)
    assert storage.retention.sweep(max_rows=610) == CleanupReport(done_deleted=90)


def test_one_sweep_runs_at_a_time(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("default")
    storage.queues.change("default", AT_ONCE)
    sql.seed(1, status="done", prefix="done")
    storage.leases.take(retention.LEASE, "another process", retention.LEASE_S)

    with pytest.raises(AlreadyRunningError):
        storage.retention.sweep()
    assert storage.retention.expired() == CleanupReport(done_deleted=1)

    sql.age(retention.LEASE_S + 1)
    assert storage.retention.sweep() == CleanupReport(done_deleted=1)
    assert storage.retention.sweep() == CleanupReport()


def test_a_sweep_that_loses_its_lease_stops(storage: Storage, sql: Sql) -> None:
    """Stalled for longer than the lease: another one has begun meanwhile."""
    storage.queues.ensure("default")
    storage.queues.change("default", AT_ONCE)
    sql.seed(3 * BATCH, status="done", prefix="done")
    batches = iter(range(9))

    def stall() -> bool:
        if next(batches) == 2:
            sql.age(retention.LEASE_S + 1)
            storage.leases.take(retention.LEASE, "another process", 60)
        return False

    report = storage.retention.sweep(is_over=stall)

    assert not report.is_complete
    assert report.done_deleted == sql.value(
        f"SELECT {3 * BATCH} - COUNT(*) FROM forge_job"
    )
    assert report.done_deleted < 3 * BATCH


def test_a_sweep_stops_when_its_time_is_over(storage: Storage, sql: Sql) -> None:
    storage.queues.ensure("default")
    storage.queues.change("default", AT_ONCE)
    sql.seed(3 * BATCH, status="done", prefix="done")

    report = storage.retention.sweep(is_over=lambda: True)

    assert report == CleanupReport(is_complete=False)
    assert storage.retention.sweep() == CleanupReport(done_deleted=3 * BATCH)


REFUSE_SQLITE = """
CREATE TRIGGER refuse BEFORE DELETE ON forge_job WHEN old.queue_name = 'bad' BEGIN
    SELECT RAISE(ABORT, 'refused');
END
"""
REFUSE_POSTGRES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'refused';
END $$;
CREATE TRIGGER refuse BEFORE DELETE ON forge_job
    FOR EACH ROW WHEN (old.queue_name = 'bad') EXECUTE FUNCTION refuse()
"""
REFUSE = {
    "sqlite": (REFUSE_SQLITE, "DROP TRIGGER refuse"),
    "postgres": (REFUSE_POSTGRES, "DROP FUNCTION refuse CASCADE"),
}


def test_a_queue_that_fails_does_not_keep_others_from_being_swept(
    storage: Storage, sql: Sql, backend: str
) -> None:
    for name in ("a", "bad", "c"):
        storage.queues.ensure(name)
        storage.queues.change(name, AT_ONCE)
        sql.seed(1, queue_name=name, status="done", prefix=name)
    refuse, allow = REFUSE[backend]
    sql.run(refuse)
    try:
        with pytest.raises(StorageError):
            storage.retention.sweep()
    finally:
        sql.run(allow)

    assert [left(sql, name) for name in ("a", "bad", "c")] == [[], ["bad-1"], []]
    assert storage.retention.sweep() == CleanupReport(done_deleted=1)


def test_a_batch_keeps_to_its_queue_and_status(storage: Storage, sql: Sql) -> None:
    kept = [
        job_with(storage, JobStatus.DONE),
        job_with(storage, JobStatus.DEAD, queue_name="other"),
        job_with(storage, JobStatus.FAILED),
        job_with(storage, JobStatus.IN_PROGRESS),
        enqueue(storage, queue_name="waiting"),
    ]

    assert storage.retention.delete(QUEUE, JobStatus.DEAD, 0) == 0
    assert storage.retention.delete("none", JobStatus.DONE, 0) == 0
    assert storage.retention.delete(QUEUE, JobStatus.FAILED, 0) == 0

    assert len(sql.run("SELECT id FROM forge_job")) == len(kept)


@pytest.mark.parametrize(("days", "deleted"), [(0, 1), (1, 0), (36_500, 0)])
def test_a_batch_takes_any_number_of_days(
    storage: Storage, days: int, deleted: int
) -> None:
    """Extreme settings overflow nothing"""
    job_with(storage, JobStatus.DONE)

    assert storage.retention.delete(QUEUE, JobStatus.DONE, days) == deleted


def test_batches_take_the_oldest_first(storage: Storage, sql: Sql) -> None:
    sql.seed(BATCH + 3, status="done")

    counts = [storage.retention.delete(QUEUE, JobStatus.DONE, 0) for _ in range(3)]

    assert counts == [BATCH, 3, 0]
