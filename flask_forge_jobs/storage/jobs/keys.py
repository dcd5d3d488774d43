"""The keys by which a repeated call is recognized: dedupe keys and request keys.

An insert that changes nothing has met its own id, stored by an earlier commit whose
answer was lost, or a dedupe key that an unfinished job holds.

A request key and the jobs of its request commit together, so a caller may repeat a
request whose answer was lost: it is done once, and repetitions get the same answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence

from flask_forge_jobs.errors import (
    DuplicateJobError,
    InvalidInputError,
    RequestKeyReusedError,
    StorageBusyError,
)
from flask_forge_jobs.model.instants import MICROSECOND, to_micros
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.model.request_keys import KEPT_US, RequestKey
from flask_forge_jobs.storage.database import Parameter, Row, Transaction, encode_names


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


# A new key removes up to this many expired ones, so that their number falls.
DROPPED_AT_ONCE = 10
# Leading fields of a result to remember; the flags behind them belong to one call.
REMEMBERED_FIELDS = 7


def once(
    transaction: Transaction,
    jobs: Sequence[NewJob],
    key: RequestKey | None,
    store: Callable[[], list[EnqueueResult]],
) -> list[EnqueueResult]:
    """Store jobs, or return what an earlier request with the key did."""
    if key is None:
        return store()
    before = _remembered(transaction, key, jobs)
    if before is not None:
        return before
    results = store()
    _remember(transaction, key, results)
    return results


def _remembered(
    transaction: Transaction, key: RequestKey, jobs: Sequence[NewJob]
) -> list[EnqueueResult] | None:
    """Return what an earlier request with the key did, or take the key."""
    fingerprint = key.fingerprint(jobs)
    if transaction.all(
        "take_request_key", fingerprint=fingerprint, kept_us=KEPT_US, **_place(key)
    ):
        transaction.defer("drop_expired_request_keys", limit=DROPPED_AT_ONCE)
        return None
    rows = transaction.all("find_request_key", **_place(key))
    if not rows:
        raise StorageBusyError(f"the key {key.value!r} expired just now")
    before, answer = rows[0]
    if before != fingerprint:
        raise RequestKeyReusedError(key.value)
    return [
        EnqueueResult(*row)._replace(status=JobStatus(row[4]), is_replayed=True)
        for row in json.loads(answer)
    ]


def _remember(
    transaction: Transaction, key: RequestKey, results: Sequence[EnqueueResult]
) -> None:
    rows = [result[:REMEMBERED_FIELDS] for result in results]
    answer = json.dumps(rows, separators=(",", ":"))
    transaction.defer("answer_request_key", answer=answer, **_place(key))


def _place(key: RequestKey) -> dict[str, Parameter]:
    return {"caller": key.caller, "request_key": key.value}
