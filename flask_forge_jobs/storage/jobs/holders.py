"""Which job holds the dedupe key of a new one.

An insert that changes nothing has met its own id, stored by an earlier commit whose
answer was lost, or a dedupe key that an unfinished job holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask_forge_jobs.errors import DuplicateJobError, InvalidInputError
from flask_forge_jobs.model.bounds import DEFAULT_QUEUE
from flask_forge_jobs.model.instants import MICROSECOND
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.storage.database import (
    Row,
    Transaction,
    encode_names,
    encode_rows,
)

NewPair = tuple[NewJob, str]
"""A new job and its id."""
# Rows of one statement.
BULK_ROWS = 1000


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


def find_many(
    transaction: Transaction, pairs: Sequence[NewPair]
) -> dict[str, EnqueueResult]:
    """Return the result of :func:`find` for each new job, by its id."""
    rows_by_id: dict[str, Row] = {}
    for start in range(0, len(pairs), BULK_ROWS):
        rows = encode_rows(
            {"id": job_id, "dedupe_key": job.stored_key}
            for job, job_id in pairs[start : start + BULK_ROWS]
        )
        for job_id, *row in transaction.all("find_enqueued_many", rows=rows):
            rows_by_id[job_id] = tuple(row)
    return {
        job_id: _holder(job, job_id, rows_by_id[job_id])
        for job, job_id in pairs
        if job_id in rows_by_id
    }


def lock_pending(transaction: Transaction, pairs: Iterable[NewPair]) -> set[str]:
    """Lock jobs that new ones may replace, in the order of ids; return the ids."""
    keys = {str(job.stored_key) for job, _ in pairs if job.replace}
    if not keys:
        return set()
    rows = encode_names("dedupe_key", sorted(keys))
    return {row[0] for row in transaction.all("lock_pending", rows=rows)}


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
        run_at=job.start_us if moves else None,
    )
    if not rows:
        return None
    holder = _holder(job, job_id, rows[0])
    transaction.wake(holder.queue_name)
    return holder._replace(is_replaced=True) if holder.is_deduped else holder


def may_replace(job: NewJob, holder: EnqueueResult) -> bool:
    """Whether the holder of a key is pending and has values to be replaced."""
    is_pending = holder.is_deduped and holder.status is JobStatus.PENDING
    return bool(job.replace) and is_pending


def _holder(job: NewJob, job_id: str, row: Row) -> EnqueueResult:
    holder_id, queue_name, kind, status, due_us = row
    if holder_id == job_id:
        if kind != job.kind:
            raise InvalidInputError("job_id", "is the id of a job of another kind")
        return new_result(job, job_id, due_us)
    if kind != job.kind:
        raise DuplicateJobError(str(job.dedupe_key), holder_id, kind)
    return EnqueueResult(holder_id, True, queue_name, kind, JobStatus(status), due_us)
