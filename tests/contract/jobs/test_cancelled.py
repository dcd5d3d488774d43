"""A job that a user cancelled is ``dead``, told apart, and keeps the reason."""

from __future__ import annotations

import pytest

from flask_forge_jobs.model.activity import EventType
from flask_forge_jobs.model.bulk import JobAction
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.error_groups import ErrorOrder, ErrorRange
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.metrics import Tally
from flask_forge_jobs.model.ordering import JobOrder
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Released,
    Throttled,
)
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import (
    OWNER,
    claim_one,
    enqueue,
    having,
    job_with,
    rescue_all,
    run,
    update_for,
    walk,
)

REASON = "cancelled by user: wrong list"


def counted(storage: Storage) -> Tally:
    """Return what was counted since the last call, of all queues and kinds."""
    total = Tally()
    for tally in storage.recorder.take().values():
        total.merge(tally)
    return total


def end(storage: Storage, outcome: Outcome, *, knows: bool) -> None:
    """Cancel a running job with a reason, then let its worker end the run."""
    job = claim_one(storage)
    storage.job_admin.cancel(job.id, "wrong list")
    storage.job_admin.cancel(job.id, "another reason")
    update = update_for(job, outcome, failure_delay_s=0.0, user_cancelled=knows)
    update.run_us = 1
    refused = storage.jobs.finish(OWNER, [update])
    storage.recorder.ended([update], refused)
    assert refused == []


@pytest.mark.parametrize(
    ("outcome", "knows"),
    [
        (Failed("stopped"), True),
        (Failed("stopped"), False),
        (Dead("no such user"), True),
        (Released(), True),
        (Released(), False),
        (Throttled(5), True),
        (Throttled(5), False),
    ],
    ids=lambda value: str(value) if value in (True, False) else type(value).__name__,
)
def test_a_running_job_keeps_the_first_reason_and_counts_as_cancelled(
    storage: Storage, outcome: Outcome, *, knows: bool
) -> None:
    job_id = enqueue(storage)
    counted(storage)

    end(storage, outcome, knows=knows)

    job = storage.job_reader.get(job_id)
    assert (job.status, job.ending) == (JobStatus.DEAD, Ending.CANCELLED)
    assert job.last_error == job.error_history[-1].message == REASON
    tally = counted(storage)
    assert (tally.cancelled, tally.dead, tally.retried) == (1, 0, 0)


@pytest.mark.parametrize("knows", [True, False])
def test_a_prefetched_job_that_goes_back_cancelled_counts(
    storage: Storage, *, knows: bool
) -> None:
    """As on a shutdown: it never started."""
    job_id = enqueue(storage)
    counted(storage)
    job = claim_one(storage)
    storage.job_admin.cancel(job_id)
    update = update_for(job, Released(), failure_delay_s=0.0, user_cancelled=knows)

    storage.recorder.ended([update], storage.jobs.finish(OWNER, [update]))

    assert storage.job_reader.get(job_id).ending is Ending.CANCELLED
    assert counted(storage).cancelled == 1


def test_a_job_that_is_done_before_it_stops_was_not_cancelled(storage: Storage) -> None:
    job_id = enqueue(storage)
    counted(storage)

    end(storage, Done("1"), knows=True)

    job = storage.job_reader.get(job_id)
    assert (job.status, job.ending, job.last_error) == (JobStatus.DONE, None, None)
    tally = counted(storage)
    assert (tally.cancelled, tally.completed) == (0, 1)


def test_a_run_that_gave_up_before_it_heard_of_the_cancel_is_dead(
    storage: Storage,
) -> None:
    job_id = enqueue(storage)
    counted(storage)

    end(storage, Dead("no such user"), knows=False)

    job = storage.job_reader.get(job_id)
    assert (job.ending, job.last_error) == (Ending.DEAD, "no such user")
    tally = counted(storage)
    assert (tally.cancelled, tally.dead, tally.retried) == (0, 1, 0)


def test_a_run_that_its_worker_was_asked_to_stop_is_cancelled(storage: Storage) -> None:
    """Without a request in the row."""
    job_id = enqueue(storage)
    job = claim_one(storage)
    update = update_for(job, Failed("x"), failure_delay_s=0.0, user_cancelled=True)

    assert storage.jobs.finish(OWNER, [update]) == []

    stored = storage.job_reader.get(job_id)
    assert (stored.ending, stored.last_error) == (
        Ending.CANCELLED, "cancelled by user",
    )  # fmt: skip


def test_a_cancelled_outcome_that_is_written_again_is_stored_once(
    storage: Storage,
) -> None:
    """The answer to its commit was lost."""
    enqueue(storage)
    job = claim_one(storage)
    storage.job_admin.cancel(job.id, "wrong list")
    for outcome, knows in ((Failed("x"), True), (Released(), False)):
        update = update_for(job, outcome, failure_delay_s=0.0, user_cancelled=knows)
        update.was_tried = True
        assert storage.jobs.finish(OWNER, [update]) == []

    stored = storage.job_reader.get(job.id)
    assert [entry.message for entry in stored.error_history] == [REASON]


@pytest.mark.parametrize("is_bulk", [True, False])
def test_waiting_jobs_that_are_cancelled_count(
    storage: Storage, *, is_bulk: bool
) -> None:
    job_id = enqueue(storage)
    counted(storage)

    if is_bulk:
        storage.job_admin.change(JobAction.CANCEL, [job_id])
    else:
        storage.job_admin.cancel(job_id, "wrong list")

    job = storage.job_reader.get(job_id)
    assert (job.status, job.ending) == (JobStatus.DEAD, Ending.CANCELLED)
    assert job.last_error == ("cancelled by user" if is_bulk else REASON)
    tally = counted(storage)
    assert (tally.cancelled, tally.dead, tally.retried) == (1, 0, 0)


def test_a_cancelled_job_whose_worker_is_lost_keeps_the_reason(
    storage: Storage,
) -> None:
    job_id = enqueue(storage)
    claim_one(storage)
    storage.job_admin.cancel(job_id, "wrong list")
    counted(storage)

    assert rescue_all(storage) == 1

    job = storage.job_reader.get(job_id)
    assert (job.ending, job.last_error) == (Ending.CANCELLED, REASON)
    tally = counted(storage)
    assert (tally.cancelled, tally.dead, tally.retried) == (1, 0, 0)


def test_a_retry_forgets_that_the_job_was_cancelled(storage: Storage) -> None:
    job_id = enqueue(storage)
    end(storage, Failed("stopped"), knows=True)
    assert storage.job_admin.requeue(job_id)

    run(storage, Dead("no such user"))

    job = storage.job_reader.get(job_id)
    assert (job.ending, job.last_error) == (Ending.DEAD, "no such user")


def test_dead_and_cancelled_jobs_are_found_apart(storage: Storage) -> None:
    cancelled = enqueue(storage)
    storage.job_admin.cancel(cancelled)
    dead = job_with(storage, JobStatus.DEAD)
    enqueue(storage)

    for ending, job_id in ((Ending.CANCELLED, cancelled), (Ending.DEAD, dead)):
        wanted = JobFilter(ending=ending)
        page = storage.job_reader.find(wanted, JobOrder(), 10)
        assert [(row.id, row.ending) for row in page.rows] == [(job_id, ending)]
        assert storage.job_reader.total(wanted) == 1
    assert storage.job_reader.total(having(JobStatus.DEAD)) == 2

    walk(storage, JobAction.RETRY, JobFilter(ending=Ending.DEAD))
    assert storage.job_reader.get(dead).status is JobStatus.PENDING
    assert storage.job_reader.get(cancelled).status is JobStatus.DEAD


def test_a_cancelled_job_is_no_failure(storage: Storage) -> None:
    storage.job_admin.cancel(enqueue(storage))
    dead = job_with(storage, JobStatus.DEAD)

    page = storage.errors.page(ErrorRange.MONTH, ErrorOrder.COUNT, 10)
    assert [each.sample_id for each in page.groups] == [dead]
    ended = storage.activity.ended_within(JobStatus.DEAD, 3600, ["default"])
    assert ended == {"default": 1}
    assert EventType("cancelled") in EventType
