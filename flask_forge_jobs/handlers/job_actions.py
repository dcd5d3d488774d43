"""Acting on jobs: enqueue, run now, and the ids of a bulk action."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.jobs import MAX_JOB_ID_LENGTH, require_possible_id
from flask_forge_jobs.model.bounds import check_kind, check_text
from flask_forge_jobs.model.jobs import (
    DEFAULT_MAX_ATTEMPTS,
    MAX_BULK_JOBS,
    EnqueueResult,
    NewJob,
)
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.storage.base import Storage

DEMO_KIND = "noop_echo"
Router = Callable[[str], str]


def enqueue(
    storage: Storage,
    *,
    kind: str,
    payload: object,
    router: Router,
    queue_name: str | None = None,
    dedupe_key: str | None = None,
    run_at: datetime | None = None,
    priority: int | None = None,
    max_attempts: int | None = None,
) -> EnqueueResult:
    """Add one job, or find the unfinished one that holds its key.

    Args:
        storage: Where the job goes.
        kind: Selects the task, 1 to 128 characters.
        payload: Any JSON value, at most 1 MiB as stored.
        router: Names the queue of a kind; asked when ``queue_name`` is None.
        queue_name: A queue that is not registered yet becomes so.
        dedupe_key: 1 to 255 characters; None never collapses.
        run_at: Not before this instant; None or the past means now.
        priority: Lower runs first; None means 0.
        max_attempts: 1 to 1000; None means 5.

    Raises:
        InvalidInputError: A value is out of bounds.
        DuplicateJobError: A job of another kind holds the key.
    """
    check_kind(kind)
    return storage.jobs.enqueue(
        NewJob(
            kind=kind,
            payload=dump(payload),
            queue_name=router(kind) if queue_name is None else queue_name,
            priority=0 if priority is None else priority,
            max_attempts=DEFAULT_MAX_ATTEMPTS if max_attempts is None else max_attempts,
            dedupe_key=dedupe_key,
            run_at=run_at,
        )
    )


def enqueue_demo(storage: Storage, *, payload: object = None) -> EnqueueResult:
    """Add one job of the bundled demo kind to the default queue.

    Args:
        storage: Where the job goes.
        payload: What the demo task reads; None means an empty object.

    Raises:
        InvalidInputError: The payload is too large.
    """
    text = "{}" if payload is None else dump(payload)
    return storage.jobs.enqueue(
        NewJob(kind=DEMO_KIND, payload=text, queue_name=DEFAULT_QUEUE)
    )


def run_now(storage: Storage, job_id: str) -> bool:
    """Make a waiting job due now; one that is already due stays where it is.

    Returns:
        True when the job waits to be claimed; False when it runs or has ended.

    Raises:
        JobNotFoundError: No such job.
    """
    require_possible_id(job_id)
    return storage.job_admin.run_now(job_id)


def distinct_ids(job_ids: Sequence[str]) -> list[str]:
    """Return the ids of a bulk action, each once, in order.

    Raises:
        InvalidInputError: Too many ids, or one that cannot be an id.
    """
    if len(job_ids) > MAX_BULK_JOBS:
        raise InvalidInputError(
            "ids", f"has {len(job_ids)} entries; at most {MAX_BULK_JOBS} in one call"
        )
    for index, job_id in enumerate(job_ids):
        check_text(f"ids[{index}]", job_id, MAX_JOB_ID_LENGTH)
    return list(dict.fromkeys(job_ids))
