"""Request keys: a repeated request is done once.

A request key and the jobs of its request commit together, so a caller may repeat a
request whose answer was lost, and repetitions get the same answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from flask_forge_jobs.errors import RequestKeyReusedError, StorageBusyError
from flask_forge_jobs.model.jobs import EnqueueResult, JobStatus, NewJob
from flask_forge_jobs.model.request_keys import KEPT_US, RequestKey
from flask_forge_jobs.storage.database import Parameter, Transaction

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
    """Store jobs, or return the result of an earlier request with the key."""
    if key is None:
        return store()
    before = _remembered(transaction, key, jobs)
    if before is not None:
        return before
    results = store()
    rows = [result[:REMEMBERED_FIELDS] for result in results]
    answer = json.dumps(rows, separators=(",", ":"))
    transaction.defer("answer_request_key", answer=answer, **_place(key))
    return results


def _remembered(
    transaction: Transaction, key: RequestKey, jobs: Sequence[NewJob]
) -> list[EnqueueResult] | None:
    """Return the result of an earlier request with the key, or take the key."""
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


def _place(key: RequestKey) -> dict[str, Parameter]:
    return {"caller": key.caller, "request_key": key.value}
