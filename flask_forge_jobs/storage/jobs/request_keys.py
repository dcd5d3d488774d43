"""Remembers what a keyed request did, in the transaction that does it.

Key and jobs are committed together, so a request whose answer was lost, or whose server
died, may be repeated: it is done once and answered alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from flask_forge_jobs.errors import RequestKeyReusedError, StorageBusyError
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.request_keys import KEPT_US, RequestKey
from flask_forge_jobs.storage.database import Parameter, Transaction

# A new key removes so many old ones; more than one, so that they get fewer.
DROPPED_AT_ONCE = 10


def once(
    transaction: Transaction,
    jobs: Sequence[NewJob],
    key: RequestKey | None,
    store: Callable[[], list[EnqueueResult]],
) -> list[EnqueueResult]:
    """Store jobs, or return what an earlier request with the key did.

    Args:
        transaction: In which all of it happens.
        jobs: What is asked for.
        key: Names the request; without one it is always done.
        store: Stores the jobs.

    Raises:
        RequestKeyReusedError: The earlier request asked for something else.
    """
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
    return [result._replace(is_replayed=True) for result in _results(answer)]


def _remember(
    transaction: Transaction, key: RequestKey, results: Sequence[EnqueueResult]
) -> None:
    """Note what the request did."""
    answer = json.dumps(
        [
            (
                result.id,
                result.is_deduped,
                result.queue_name,
                result.kind,
                result.status,
                result.scheduled_at_us,
                result.queue_created,
            )
            for result in results
        ],
        separators=(",", ":"),
    )
    transaction.defer("answer_request_key", answer=answer, **_place(key))


def _place(key: RequestKey) -> dict[str, Parameter]:
    return {"owner": key.owner, "request_key": key.value}


def _results(answer: str) -> list[EnqueueResult]:
    return [
        EnqueueResult(
            id=job_id,
            is_deduped=is_deduped,
            queue_name=queue_name,
            kind=kind,
            status=JobStatus(status),
            scheduled_at_us=scheduled_at_us,
            queue_created=queue_created,
        )
        for (
            job_id,
            is_deduped,
            queue_name,
            kind,
            status,
            scheduled_at_us,
            queue_created,
        ) in json.loads(answer)
    ]
