"""The attempts of a job: which are kept, and what is known of each."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.attempts import NEWEST_ATTEMPTS, Attempt, RunSpan
from flask_forge_jobs.model.instants import from_micros
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Snooze,
    Throttled,
)
from flask_forge_jobs.model.workers import SlotReport, WorkerProcess
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import (
    OTHER,
    OWNER,
    QUEUE,
    claim_one,
    enqueue,
    finish,
    rescue_all,
    run,
    update_for,
)
from tests.support.lossy import lossy_jobs
from tests.support.sql import Sql


def attempts_of(storage: Storage, job_id: str) -> tuple[Attempt, ...]:
    return storage.job_reader.with_attempts(job_id)[1]


def present(storage: Storage, job_id: str | None = None) -> None:
    """Show a worker that runs a job in its slot 3."""
    slots = [SlotReport(f"{QUEUE}-3-{OWNER}-0", QUEUE, job_id)]
    process = WorkerProcess(host="a1")
    storage.workers.beat(OWNER, "mail-1", [QUEUE], slots, process=process)


def endings(storage: Storage, job_id: str) -> list[str]:
    return [each.ending.value for each in attempts_of(storage, job_id)]


def again(storage: Storage, sql: Sql, outcome: Outcome) -> None:
    """Run the only job once more, whenever it is due."""
    sql.age(100_000)
    run(storage, outcome)


def rows(sql: Sql) -> int:
    return int(sql.value("SELECT COUNT(*) FROM forge_attempt"))


# -- what needs no row ------------------------------------------------------------


def test_a_waiting_job_has_no_attempt(storage: Storage) -> None:
    assert attempts_of(storage, enqueue(storage)) == ()


def test_a_job_done_at_once_has_an_attempt_and_stores_nothing_for_it(
    storage: Storage, sql: Sql
) -> None:
    job_id = enqueue(storage)
    run(storage, Done())

    job, (attempt,), *_ = storage.job_reader.with_attempts(job_id)

    assert rows(sql) == 0
    assert (attempt.run, attempt.attempt, attempt.ending) == (1, 1, "done")
    assert attempt.due_at == job.scheduled_at
    assert (attempt.started_at, attempt.ended_at) == (job.started_at, job.completed_at)
    assert (attempt.worker_id, attempt.slot, attempt.error) == (None, None, None)


def test_the_attempt_under_way_names_its_worker(storage: Storage) -> None:
    present(storage)
    job_id = enqueue(storage)
    claim_one(storage)
    (unreported,) = attempts_of(storage, job_id)
    present(storage, job_id)

    (attempt,) = attempts_of(storage, job_id)

    assert (attempt.ending, attempt.ended_at, attempt.run_ms) == ("running", None, None)
    assert (attempt.worker_id, attempt.worker_name) == (OWNER, "mail-1")
    assert (unreported.slot, attempt.slot) == (None, 3)


def test_waiting_for_a_limit_leaves_a_job_done_at_its_first_attempt_without_a_row(
    storage: Storage, sql: Sql
) -> None:
    job_id = enqueue(storage)
    update = update_for(
        claim_one(storage), Snooze(0), failure_delay_s=0, user_cancelled=False
    )
    update.span = None
    storage.jobs.finish(OWNER, [update])
    run(storage, Done())

    assert rows(sql) == 0
    (attempt,) = attempts_of(storage, job_id)
    assert (attempt.run, attempt.attempt, attempt.ending) == (2, 1, "done")


# -- how they end -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "ending", "error"),
    [
        (Failed("no", traceback="Traceback: no"), "failed", "no"),
        (Dead("never", "Traceback: never"), "failed", "never"),
        (Throttled(30, reason="HTTP 429"), "throttled", "HTTP 429"),
        (Snooze(30), "snoozed", None),
        (Released(), "released", None),
    ],
    ids=str,
)
def test_an_attempt_that_is_not_done_has_a_row(
    storage: Storage, outcome: Outcome, ending: str, error: str | None
) -> None:
    present(storage)
    job_id = enqueue(storage)
    job = claim_one(storage)
    update = update_for(job, outcome, failure_delay_s=60, user_cancelled=False)
    started_us, ended_us = job.claimed_at_us + 5_000, job.claimed_at_us + 25_999
    update.span = RunSpan(started_us, ended_us, slot=3)

    assert storage.jobs.finish(OWNER, [update]) == []

    assert attempts_of(storage, job_id) == (
        Attempt(
            run=1,
            attempt=1,
            due_at=from_micros(job.scheduled_at_us),
            started_at=from_micros(started_us),
            ended_at=from_micros(ended_us),
            worker_id=OWNER,
            worker_name="mail-1",
            host="a1",
            slot=3,
            ending=ending,  # type: ignore[arg-type]  # equal to the member
            error=error,
            traceback=getattr(outcome, "traceback", None),
            signature=error if ending == "failed" else None,
        ),
    )
    assert attempts_of(storage, job_id)[0].run_ms == 20


@pytest.mark.parametrize("knows", [True, False])
def test_a_cancelled_attempt_has_the_reason(storage: Storage, *, knows: bool) -> None:
    job_id = enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.cancel(job_id, "wrong list")
    failed = Failed("stopped", traceback="Traceback: stopped")
    update = update_for(job, failed, failure_delay_s=0, user_cancelled=knows)

    assert storage.jobs.finish(OWNER, [update]) == []

    (attempt,) = attempts_of(storage, job_id)
    assert (attempt.ending, attempt.error, attempt.signature) == (
        "cancelled", "cancelled by user: wrong list", None,
    )  # fmt: skip


def test_cancelling_a_waiting_job_is_no_attempt(storage: Storage) -> None:
    job_id = enqueue(storage)

    storage.job_admin.cancel(job_id)

    assert attempts_of(storage, job_id) == ()


def test_an_attempt_of_a_lost_worker_has_crashed_and_names_it(storage: Storage) -> None:
    job_id = enqueue(storage)
    present(storage, job_id)
    job = claim_one(storage)

    rescue_all(storage)

    (attempt,) = attempts_of(storage, job_id)
    assert (attempt.ending, attempt.worker_id, attempt.worker_name, attempt.slot) == (
        "crashed", OWNER, "mail-1", 3,
    )  # fmt: skip
    assert attempt.error == attempt.signature == "reaped after stale heartbeat"
    assert attempt.started_at == from_micros(job.claimed_at_us)
    assert attempt.ended_at is not None
    assert attempt.ended_at >= attempt.started_at


def test_a_lost_run_that_was_asked_to_stop_is_cancelled(storage: Storage) -> None:
    job_id = enqueue(storage)
    claim_one(storage)
    storage.job_admin.cancel(job_id, "no use")

    rescue_all(storage)

    assert endings(storage, job_id) == ["cancelled"]


# -- a job with several --------------------------------------------------------------


def test_a_done_job_has_a_row_for_its_last_attempt_beside_earlier_ones(
    storage: Storage, sql: Sql
) -> None:
    job_id = enqueue(storage)
    run(storage, Failed("first"))
    again(storage, sql, Throttled(1))
    again(storage, sql, Done())

    *_, last = found = attempts_of(storage, job_id)
    assert [(each.run, each.attempt, each.ending.value) for each in found] == [
        (1, 1, "failed"), (2, 2, "throttled"), (3, 2, "done"),
    ]  # fmt: skip
    assert (last.worker_id, last.slot) == (OWNER, 0)
    assert rows(sql) == 3


def test_a_retry_by_a_user_keeps_the_attempts_before(
    storage: Storage, sql: Sql
) -> None:
    job_id = enqueue(storage, max_attempts=1)
    run(storage, Failed("first"))
    storage.job_admin.requeue(job_id)
    assert [each.run for each in attempts_of(storage, job_id)] == [1]
    again(storage, sql, Failed("second"))

    found = attempts_of(storage, job_id)

    assert [(each.run, each.attempt, each.error) for each in found] == [
        (1, 1, "first"), (2, 1, "second"),
    ]  # fmt: skip


def test_of_many_attempts_the_first_and_the_newest_stay(
    storage: Storage, sql: Sql
) -> None:
    job_id = enqueue(storage)
    beside = enqueue(storage, "other", priority=1)
    extra = 3
    for number in range(1 + NEWEST_ATTEMPTS + extra):
        sql.age(100)
        (job,) = storage.jobs.claim(QUEUE, OWNER)
        assert job.id == job_id
        assert finish(storage, job, Throttled(0, scope="job", reason=str(number)))
    storage.job_admin.cancel(job_id)
    run(storage, Failed("of the other job"))

    runs = [each.run for each in attempts_of(storage, job_id)]

    assert runs == [1, *range(2 + extra, 2 + extra + NEWEST_ATTEMPTS)]
    assert endings(storage, beside) == ["failed"]


# -- fences ---------------------------------------------------------------------------


def test_a_refused_outcome_stores_no_attempt(storage: Storage) -> None:
    job_id = enqueue(storage)
    lost = claim_one(storage)

    assert not finish(storage, lost, Failed("of another"), owner=OTHER)
    assert endings(storage, job_id) == ["running"]
    rescue_all(storage)
    assert not finish(storage, lost, Failed("late"))
    assert endings(storage, job_id) == ["crashed"]


def test_a_repeat_after_a_lost_answer_stores_an_attempt_once(storage: Storage) -> None:
    jobs = lossy_jobs(storage.database)
    job_id = enqueue(storage)
    job = claim_one(storage)
    update = update_for(job, Failed("no"), failure_delay_s=60, user_cancelled=False)

    assert jobs.finish(OWNER, [update]) == []

    assert endings(storage, job_id) == ["failed"]


# -- the end ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [JobStatus.DONE, JobStatus.DEAD, JobStatus.FAILED])
def test_attempts_go_with_their_job(
    storage: Storage, sql: Sql, status: JobStatus
) -> None:
    kept = enqueue(storage, "kept")
    run(storage, Dead("no"))
    job_id = enqueue(storage)
    run(storage, Failed("first"))
    if status is not JobStatus.FAILED:
        again(storage, sql, Done() if status is JobStatus.DONE else Dead("never"))

    storage.job_admin.delete(job_id)

    assert sql.run("SELECT DISTINCT job_id FROM forge_attempt") == [(kept,)]


def test_attempts_of_one_batch_are_all_stored(storage: Storage) -> None:
    storage.jobs.enqueue_many([NewJob("noop")] * 3)
    jobs = storage.jobs.claim(QUEUE, OWNER, 3)
    outcomes: list[Outcome] = [Failed("no"), Done(), Throttled(1)]
    updates = [
        update_for(job, outcome, failure_delay_s=60, user_cancelled=False)
        for job, outcome in zip(jobs, outcomes, strict=True)
    ]

    assert storage.jobs.finish(OWNER, updates) == []

    assert [endings(storage, job.id) for job in jobs] == [
        ["failed"], ["done"], ["throttled"],
    ]  # fmt: skip
