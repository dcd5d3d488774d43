"""Batches whose last jobs end, for tests of the order of their ends."""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.model.batches import BatchEvent, NewBatch
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.jobs import JobFilter, NewJob
from flask_forge_jobs.model.outcomes import Done, FollowUp
from flask_forge_jobs.storage.base import Storage
from tests.support.jobs import OWNER, QUEUE, finish

TOLD = FollowUp("told", "ended", "mail", 0, 5)


def batch_of(storage: Storage, count: int) -> tuple[str, list[ClaimedJob]]:
    """Create a batch of jobs, which run, and of one job that follows its success."""
    new = NewBatch("report", None, {BatchEvent.SUCCESS: TOLD})
    created = storage.batches.create(new, [NewJob("part") for _ in range(count)])
    storage.batches.fold([created.id])
    return created.id, storage.jobs.claim(QUEUE, OWNER, count)


def end(storage: Storage, job: ClaimedJob) -> Callable[[], object]:
    """Return a call that ends a job and folds, as a worker does."""

    def call() -> set[str]:
        assert finish(storage, job, Done())
        return storage.batches.fold([str(storage.job_reader.get(job.id).batch_id)])

    return call


def told(storage: Storage) -> int:
    """How many jobs have followed the success of a batch."""
    return storage.job_reader.page(JobFilter(kinds=["told"]), 5).total
