"""What an operator does to many jobs, named one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar, cast

import pytest

from flask_forge_jobs.clock import SystemClock
from flask_forge_jobs.errors import DedupeKeyTakenError
from flask_forge_jobs.model.bulk import (
    APPLIES_TO,
    BulkChange,
    JobAction,
    Skip,
    SkipReason,
)
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Dead, Failed
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.database import Database, Transaction
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs import bulk
from flask_forge_jobs.storage.jobs.admin import JobAdmin
from flask_forge_jobs.storage.pace import Pace
from flask_forge_jobs.storage.ties.settlement import Settlement
from tests.support.jobs import OWNER, QUEUE, claim_one, enqueue, finish, job_with, run
from tests.support.sql import Sql

T = TypeVar("T")


def status_of(storage: Storage, job_id: str) -> JobStatus:
    return storage.job_reader.get(job_id).status


def dead_with(storage: Storage, key: str) -> str:
    job_id = enqueue(storage, key=key)
    run(storage, Dead("no"))
    return job_id


@pytest.mark.parametrize("action", JobAction)
def test_an_action_leaves_alone_what_it_is_not_for(
    storage: Storage, action: JobAction
) -> None:
    ids = {
        status: job_with(storage, status, queue_name=status.value)
        for status in JobStatus
    }
    before = {job_id: storage.job_reader.get(job_id) for job_id in ids.values()}
    wrong = [ids[status] for status in JobStatus if status not in APPLIES_TO[action]]

    change = storage.job_admin.change(
        action, [*ids.values(), "unknown"], run_at=from_micros(0)
    )

    assert change.changed == len(APPLIES_TO[action])
    assert set(change.skipped) == {
        Skip("unknown", SkipReason.NOT_FOUND),
        *(Skip(job_id, SkipReason.WRONG_STATUS) for job_id in wrong),
    }
    for job_id in wrong:
        assert storage.job_reader.get(job_id) == before[job_id]


def test_delete_takes_what_rests_and_asks_what_runs(storage: Storage) -> None:
    running = job_with(storage, JobStatus.IN_PROGRESS)
    waiting = enqueue(storage)

    change = storage.job_admin.change(JobAction.DELETE, [running, waiting, "unknown"])

    assert change == BulkChange(
        changed=2, stop_requested=1, skipped=[Skip("unknown", SkipReason.NOT_FOUND)]
    )
    assert storage.jobs.cancelled(OWNER) == [running]
    assert status_of(storage, running) is JobStatus.IN_PROGRESS


@pytest.mark.parametrize("status", [JobStatus.DEAD, JobStatus.IN_PROGRESS])
def test_delete_repeats_the_state_it_was_told(
    storage: Storage, status: JobStatus
) -> None:
    """What has been requeued or finished since is left alone"""
    waiting = enqueue(storage)

    change = storage.job_admin.change(JobAction.DELETE, [waiting], status=status)

    assert change.skipped == [Skip(waiting, SkipReason.WRONG_STATUS)]
    assert status_of(storage, waiting) is JobStatus.PENDING


def test_cancel_ends_what_waits_and_asks_what_runs(storage: Storage) -> None:
    running = job_with(storage, JobStatus.IN_PROGRESS)
    failed = job_with(storage, JobStatus.FAILED, queue_name="other")
    waiting = enqueue(storage)

    change = storage.job_admin.change(JobAction.CANCEL, [running, failed, waiting])

    assert change == BulkChange(changed=3, stop_requested=1, skipped=[])
    assert storage.jobs.cancelled(OWNER) == [running]
    for job_id, errors in ((failed, ["no"]), (waiting, [])):
        job = storage.job_reader.get(job_id)
        assert (job.status, job.last_error) == (JobStatus.DEAD, "cancelled by user")
        messages = [entry.message for entry in job.error_history]
        assert messages == [*errors, "cancelled by user"]


def test_retry_takes_one_of_several_with_one_key(storage: Storage) -> None:
    ids = [dead_with(storage, "once") for _ in range(3)]
    plain = job_with(storage, JobStatus.DEAD)

    change = storage.job_admin.change(JobAction.RETRY, [*reversed(ids), plain])

    assert change.changed == 2
    assert set(change.skipped) == {
        Skip(job_id, SkipReason.DEDUPE_CONFLICT) for job_id in ids[1:]
    }
    assert status_of(storage, ids[0]) is JobStatus.PENDING
    assert status_of(storage, plain) is JobStatus.PENDING


@pytest.mark.parametrize(
    "status", [JobStatus.PENDING, JobStatus.IN_PROGRESS, JobStatus.FAILED]
)
def test_retry_skips_a_job_whose_key_is_held(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, status: JobStatus
) -> None:
    """requeue_batch_skips_dedupe_conflicts_instead_of_aborting, with dead jobs"""
    blocked = dead_with(storage, "held")
    free = dead_with(storage, "free")
    holder = enqueue(storage, key="held")
    if status is not JobStatus.PENDING:
        job = claim_one(storage)
        if status is JobStatus.FAILED:
            finish(storage, job, Failed("no"))
    retry = bulk.requeue
    asked: list[Sequence[str]] = []

    def note_and_retry(
        transaction: Transaction, ids: Sequence[str], **more: bool
    ) -> bulk.Changed:
        asked.append(ids)
        return retry(transaction, ids, **more)

    monkeypatch.setattr(bulk, "requeue", note_and_retry)
    change = storage.job_admin.change(JobAction.RETRY, [blocked, free])

    assert change.changed == 1
    assert change.skipped == [Skip(blocked, SkipReason.DEDUPE_CONFLICT)]
    assert status_of(storage, blocked) is JobStatus.DEAD
    assert status_of(storage, holder) is status
    # The holder was seen: no unique index had to refuse the whole batch.
    assert asked == [[blocked, free]]


def test_reschedule_defers_all(storage: Storage, sql: Sql) -> None:
    ids = [enqueue(storage), enqueue(storage)]
    later = from_micros(sql.now_us()) + timedelta(hours=1)

    change = storage.job_admin.change(JobAction.RESCHEDULE, ids, run_at=later)

    assert change.changed == 2
    assert storage.jobs.claim(QUEUE, OWNER) == []
    assert {storage.job_reader.get(job_id).scheduled_at for job_id in ids} == {later}


@pytest.mark.parametrize("action", JobAction)
def test_nothing_named_is_nothing_done(storage: Storage, action: JobAction) -> None:
    assert storage.job_admin.change(action, []) == BulkChange()


class Contended:
    """A database in which somebody else takes a key under some of the writes."""

    def __init__(self, inner: Database, *, taken: Sequence[bool]) -> None:
        self._inner = inner
        self._taken = iter(taken)
        self.backend = inner.backend
        self.wake, self.execute = inner.wake, inner.execute

    def write(self, work: Callable[[Transaction], T], *, urgent: bool = False) -> T:
        if next(self._taken):
            raise DedupeKeyTakenError("taken")
        return self._inner.write(work, urgent=urgent)


def test_a_key_taken_meanwhile_holds_back_its_own_job_only(
    storage: Storage, sql: Sql
) -> None:
    """A batch that meets it is halved until the job is found"""
    ids = sorted(job_with(storage, JobStatus.DEAD) for _ in range(4))
    for job_id in ids:  # without a key, none can be taken
        sql.run("UPDATE forge_job SET dedupe_key = ? WHERE id = ?", job_id, job_id)
    # All four; the first half, its first job and its second; the second half.
    taken = [True, True, True, False, False]
    contended = StoreExecutor(
        cast("Database", Contended(storage.database, taken=taken))
    )
    clock = SystemClock()
    pace = Pace(storage.backend, clock, lambda _: None)
    follow_ups = storage.follow_ups
    settlement = Settlement(contended, clock, follow_ups, storage.recorder)
    job_admin = JobAdmin(contended, clock, pace, follow_ups, settlement=settlement)

    change = job_admin.change(JobAction.RETRY, ids)

    assert change == BulkChange(
        changed=3, skipped=(Skip(ids[0], SkipReason.DEDUPE_CONFLICT),)
    )
    assert [status_of(storage, job_id) for job_id in ids] == [
        JobStatus.DEAD, *[JobStatus.PENDING] * 3,
    ]  # fmt: skip
