"""The job that holds a dedupe key.

An insert that changes nothing has met its own id, stored by an earlier commit whose
answer was lost, or a dedupe key that an unfinished job holds.
"""

from __future__ import annotations

from collections.abc import Iterable

from flask_forge_jobs.errors import DuplicateJobError, InvalidInputError
from flask_forge_jobs.model.instants import MICROSECOND, to_micros
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.storage.database import Row, Transaction, encode_names


def new_result(
    job: NewJob, job_id: str, due_us: int, created: Iterable[str] = ()
) -> EnqueueResult:
    """Return the result for a new job."""
    # A bulk call makes ten thousand: a tuple filled by position is fastest.
    queue_name = job.queue_name or DEFAULT_QUEUE
    return EnqueueResult(
        job_id,
        False,  # is_deduped
        queue_name,
        job.kind,
        JobStatus.PENDING,
        due_us,
        queue_name in created,
    )


def find(transaction: Transaction, job: NewJob, job_id: str) -> EnqueueResult | None:
    """Return the job with this id, or the unfinished one that holds the key."""
    rows = transaction.all("find_enqueued", id=job_id, dedupe_key=job.stored_key)
    return _holder(job, job_id, rows[0]) if rows else None


def recent(transaction: Transaction, job: NewJob, job_id: str) -> EnqueueResult | None:
    """Return the newest other job within the key's window, if there is one."""
    assert job.dedupe_for is not None  # noqa: S101  # the caller has checked
    rows = transaction.all(
        "find_recent",
        id=job_id,
        dedupe_key=job.stored_key,
        window_us=job.dedupe_for // MICROSECOND,
    )
    return _holder(job, job_id, rows[0]) if rows else None


def take_back(transaction: Transaction, job_id: str) -> None:
    """Remove a job of this transaction, which no other one has seen yet."""
    transaction.all("delete_jobs", rows=encode_names("job_id", [job_id]))


def replaced(
    transaction: Transaction, job: NewJob, job_id: str
) -> EnqueueResult | None:
    """Write a job's values into the pending holder of its key, if there is one."""
    moves = "run_at" in job.replace
    rows = transaction.all(
        "replace_pending",
        kind=job.kind,
        dedupe_key=job.stored_key,
        payload=job.payload if "payload" in job.replace else None,
        moves=moves,
        run_at=to_micros(job.run_at) if moves and job.run_at is not None else None,
    )
    if not rows:
        return None
    found = _holder(job, job_id, rows[0])
    transaction.wake(found.queue_name)
    return found._replace(is_replaced=True) if found.is_deduped else found


def may_replace(job: NewJob, found: EnqueueResult) -> bool:
    """Whether the holder has become pending since the attempt to replace it."""
    is_pending = found.is_deduped and found.status is JobStatus.PENDING
    return bool(job.replace) and is_pending


def _holder(job: NewJob, job_id: str, row: Row) -> EnqueueResult:
    found_id, queue_name, kind, status, due_us = row
    if found_id == job_id:
        if kind != job.kind:
            raise InvalidInputError("job_id", "is the id of a job of another kind")
        return new_result(job, job_id, due_us)
    if kind != job.kind:
        raise DuplicateJobError(str(job.dedupe_key), found_id, kind)
    return EnqueueResult(found_id, True, queue_name, kind, JobStatus(status), due_us)
