"""A whole worker whose answers from the database come late, or never."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, cast

from flask_forge_jobs.errors import StorageUnavailableError
from flask_forge_jobs.model.claims import ClaimBatch
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.outcomes import Failed
from flask_forge_jobs.model.run_end import CANCELLED_MESSAGE, JobUpdate
from flask_forge_jobs.runtime.duties.heartbeat import BEATS_PER_LEASE
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs.queue import JobQueue
from tests.support.backends import each_backend, sqlite_first
from tests.support.jobs import claim_one, finish
from tests.support.runtimes import (
    LIMIT_S,
    HeldTask,
    QuickTask,
    add,
    registry_of,
    running,
    wait_for_status,
)
from tests.support.waiting import wait_until

# Several beats a second.
LEASE_S = 1.5


class Answers:
    """The hot path; before the answer to an exchange arrives, the test has its say.

    Args:
        jobs: The real one.
        first_claim: Called once, when a claim of a held job is stored.
        first_write: Called once, when an outcome is stored.
    """

    def __init__(
        self,
        jobs: JobQueue,
        *,
        first_claim: Callable[[], object] = lambda: None,
        first_write: Callable[[], object] = lambda: None,
    ) -> None:
        self._jobs = jobs
        self._first_claim = first_claim
        self._first_write = first_write
        self.beats = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._jobs, name)

    def heartbeat(self, *arguments: Any) -> object:
        report = self._jobs.heartbeat(*arguments)
        self.beats += 1
        return report

    def exchange(
        self, owner: str, updates: Sequence[JobUpdate], *more: Any, **options: Any
    ) -> ClaimBatch:
        exchange = self._jobs.exchange(owner, updates, *more, **options)
        if any(job.kind == "held" for job in exchange.claimed):
            happens, self._first_claim = self._first_claim, lambda: None
            happens()
        if updates:
            happens, self._first_write = self._first_write, lambda: None
            happens()
        return exchange


class FullDisk(Answers):
    """Has room for a heartbeat, but for no claim and no outcome at first."""

    has_room = False

    def exchange(
        self, owner: str, updates: Sequence[JobUpdate], *more: Any, **options: Any
    ) -> ClaimBatch:
        if not self.has_room:
            raise StorageUnavailableError("no room")
        return super().exchange(owner, updates, *more, **options)


class Loss:
    """Loses one answer, and tells when."""

    def __init__(self) -> None:
        self._happened = threading.Event()

    def __call__(self) -> None:
        self._happened.set()
        raise StorageUnavailableError("gone, for longer than it is tried")

    def wait(self) -> None:
        assert self._happened.wait(LIMIT_S), "no answer was lost"


def over(storage: Storage, answers: Answers) -> Storage:
    forgetful = copy(storage)
    forgetful.jobs = cast("JobQueue", answers)
    return forgetful


@each_backend
def test_a_job_whose_claim_is_answered_late_runs_once(
    storage: Storage, held: HeldTask
) -> None:
    """A8, I6: nobody gives it back meanwhile, so that it would start here twice."""
    job_id = add(storage, "held", max_attempts=1)

    def be_late() -> None:
        beats = answers.beats
        wait_until(lambda: answers.beats >= beats + 4, "several beats have passed")

    answers = Answers(storage.jobs, first_claim=be_late)
    tasks = registry_of(held, QuickTask())
    with running(over(storage, answers), tasks, lease_s=LEASE_S) as handle:
        held.wait_for_start()
        # What went back would have come again with this one.
        wait_for_status(storage, add(storage, "quick"), JobStatus.DONE)
        held.release.set()
        job = wait_for_status(storage, job_id, JobStatus.DONE)
        wait_until(lambda: not handle.running(), "no run goes on")

    assert len(held.contexts) == 1
    assert job.attempts == 1
    assert storage.metrics.counters().jobs["default", "held"].refused == 0


@sqlite_first
def test_nobody_is_silent_while_a_worker_is_refused_its_own_writes(
    storage: Storage,
) -> None:
    """C17: what refuses them may have refused the beats of the others."""
    job_id = add(storage, "quick")
    claim_one(storage)
    disk = FullDisk(storage.jobs)

    with running(over(storage, disk), registry_of(QuickTask()), lease_s=LEASE_S):
        two_leases = 2 * BEATS_PER_LEASE
        wait_until(lambda: disk.beats > two_leases, "two leases have passed")
        early = storage.job_reader.get(job_id).status
        disk.has_room = True
        job = wait_for_status(storage, job_id, JobStatus.DONE)

    assert early is JobStatus.IN_PROGRESS
    assert job.crashes == 1


@each_backend
def test_a_claim_that_nobody_heard_of_goes_back_at_a_stop(
    storage: Storage, held: HeldTask
) -> None:
    """Long before a beat finds it."""
    job_id = add(storage, "held", max_attempts=1)
    loss = Loss()
    answers = Answers(storage.jobs, first_claim=loss)

    with running(over(storage, answers), registry_of(held)):
        loss.wait()

    job = storage.job_reader.get(job_id)
    assert (job.status, job.attempts, job.slot_id) == (JobStatus.PENDING, 0, None)
    assert held.contexts == []


@each_backend
def test_a_cancelled_job_that_nobody_heard_of_keeps_its_history(
    storage: Storage, held: HeldTask
) -> None:
    job_id = add(storage, "held")
    finish(storage, claim_one(storage), Failed("the first attempt"))
    storage.job_admin.run_now(job_id)

    def cancel_and_lose_it() -> None:
        storage.job_admin.delete(job_id)
        Loss()()

    answers = Answers(storage.jobs, first_claim=cancel_and_lose_it)
    with running(over(storage, answers), registry_of(held), lease_s=LEASE_S):
        job = wait_for_status(storage, job_id, JobStatus.DEAD)

    messages = [entry.message for entry in job.error_history]
    assert messages == ["the first attempt", CANCELLED_MESSAGE]


@each_backend
def test_an_outcome_that_was_stored_unheard_is_counted_as_stored(
    storage: Storage,
) -> None:
    """The database was away for longer than the write was tried."""
    job_id = add(storage, "quick")
    loss = Loss()
    answers = Answers(storage.jobs, first_write=loss)

    with running(over(storage, answers), registry_of(QuickTask())) as handle:
        loss.wait()
        wait_until(lambda: not handle._parts.writer.runs(), "it was written again")

    assert storage.job_reader.get(job_id).status is JobStatus.DONE
    (tally,) = storage.metrics.counters().jobs.values()
    assert (tally.enqueued, tally.completed, tally.refused) == (1, 1, 0)
