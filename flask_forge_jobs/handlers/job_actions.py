"""Acting on one job: enqueue, run now, cancel, delete, reschedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.handlers.admission import Admission
from flask_forge_jobs.handlers.jobs import (
    MAX_JOB_ID_LENGTH,
    masked,
    require_possible_id,
)
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.bounds import (
    check_integer,
    check_kind,
    check_queue_name,
    check_text,
)
from flask_forge_jobs.model.job_bounds import (
    PRIORITY_RANGE,
    check_run_at,
)
from flask_forge_jobs.model.jobs import (
    EMPTY_PAYLOAD,
    MAX_BULK_JOBS,
    CancelOutcome,
    DeleteOutcome,
    EnqueueResult,
    Job,
    NewJob,
)
from flask_forge_jobs.model.outcomes import MAX_REASON_LENGTH
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.queues import DEFAULT_QUEUE
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.by_name import job_of_kind
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import Router

DEMO_KIND = "noop_echo"
MAX_ENQUEUED_AT_ONCE = 1000
NO_LIMITS = Admission()
NO_TASKS = TaskRegistry()


@dataclass(frozen=True, slots=True)
class EnqueueReport:
    """What became of each job of a bulk enqueue, in order."""

    results: Sequence[EnqueueResult]

    @property
    def enqueued(self) -> int:
        """How many are new."""
        return len(self.results) - self.deduped

    @property
    def deduped(self) -> int:
        """How many collapsed onto another job."""
        return sum(result.is_deduped for result in self.results)

    @property
    def is_replayed(self) -> bool:
        """Whether this is the answer to an earlier request."""
        return any(result.is_replayed for result in self.results)


def new_job(
    *,
    kind: str,
    payload: object,
    router: Router,
    queue_name: str | None = None,
    dedupe_key: str | None = None,
    run_at: datetime | None = None,
    delay: float | None = None,
    priority: int | None = None,
    max_attempts: int | None = None,
    is_key_of_queue: bool = False,
    registry: TaskRegistry | None = None,
) -> NewJob:
    """Return a job to be enqueued, its defaults filled in.

    Args:
        kind: Selects the task, 1 to 128 characters.
        payload: Any JSON value, at most 1 MiB as stored; the arguments by name where
            the task is a function that is registered here.
        router: Names the queue of a kind; asked when ``queue_name`` is None.
        queue_name: Where it waits.
        dedupe_key: 1 to 255 characters; None never collapses.
        run_at: Not before this instant; None or the past means now.
        delay: Not before so many seconds from now, in place of ``run_at``.
        priority: Lower runs first; None means the task's, or 0.
        max_attempts: 1 to 1000; None means the task's, or 5.
        is_key_of_queue: The key is the queue's own; see :class:`NewJob`.
        registry: The tasks that are known; None means none.

    Raises:
        InvalidInputError: A value is out of bounds, or the payload does not fit the
            task.
    """
    check_kind(kind)
    job = job_of_kind(
        NO_TASKS if registry is None else registry,
        router,
        kind,
        payload,
        queue=router(kind) if queue_name is None else queue_name,
        priority=priority,
        max_attempts=max_attempts,
        dedupe_key=dedupe_key,
        run_at=run_at,
        delay=delay,
    )
    return replace(job, is_key_of_queue=True) if is_key_of_queue else job


def enqueue(
    storage: Storage,
    job: NewJob,
    admission: Admission = NO_LIMITS,
    *,
    key: RequestKey | None = None,
) -> EnqueueResult:
    """Add one job, or find the unfinished one that holds its key.

    Args:
        storage: Where the job goes.
        job: What to add.
        admission: What its queue must be like.
        key: Makes it safe to ask again for a day.

    Raises:
        DuplicateJobError: A job of another kind holds the dedupe key.
        RequestKeyReusedError: The request key was used for something else.
        QueueNotFoundError: The queue is unknown, and queues are strict.
        QueueFullError: Too many jobs wait in it.
    """
    admission.check(storage, [job.queue])
    return storage.jobs.enqueue(job, key, most_waiting=admission.most_waiting)


def new_jobs(
    items: Sequence[Mapping[str, Any]],
    *,
    router: Router,
    is_key_of_queue: bool = False,
    registry: TaskRegistry | None = None,
) -> list[NewJob]:
    """Return the jobs of a bulk enqueue.

    Args:
        items: 1 to 1,000 times the arguments of :func:`new_job`.
        router: Names the queue of a kind.
        is_key_of_queue: Each dedupe key is its queue's own; see :class:`NewJob`.
        registry: The tasks that are known; None means none.

    Raises:
        InvalidInputError: There are too few or too many, or a value is out of bounds;
            the field says of which one, such as ``items[3].kind``.
    """
    if not 1 <= len(items) <= MAX_ENQUEUED_AT_ONCE:
        raise InvalidInputError(
            "items", f"has {len(items)} entries, not 1 to {MAX_ENQUEUED_AT_ONCE}"
        )
    jobs = []
    for index, item in enumerate(items):
        try:
            job = new_job(
                router=router,
                is_key_of_queue=is_key_of_queue,
                registry=registry,
                **item,
            )
        except InvalidInputError as error:
            field = f"items[{index}].{error.field}"
            raise InvalidInputError(field, error.message) from error
        jobs.append(job)
    return jobs


def enqueue_many(
    storage: Storage,
    jobs: Sequence[NewJob],
    admission: Admission = NO_LIMITS,
    *,
    key: RequestKey | None = None,
) -> EnqueueReport:
    """Add jobs in one transaction, all or none, each as :func:`enqueue` would."""
    admission.check(storage, [job.queue for job in jobs])
    results = storage.jobs.enqueue_many(jobs, key, most_waiting=admission.most_waiting)
    return EnqueueReport(results)


def enqueue_demo(
    storage: Storage, admission: Admission = NO_LIMITS, *, payload: object = None
) -> EnqueueResult:
    """Add one job of the bundled demo kind to the default queue.

    Args:
        storage: Where the job goes.
        admission: What the queue must be like.
        payload: What the demo task reads; None means an empty object.

    Raises:
        InvalidInputError: The payload is too large.
        QueueFullError: Too many jobs wait in the queue.
    """
    text = EMPTY_PAYLOAD if payload is None else dump(payload)
    job = NewJob.of_canonical(text, kind=DEMO_KIND, queue_name=DEFAULT_QUEUE)
    return enqueue(storage, job, admission)


def run_now(storage: Storage, job_id: str) -> bool:
    """Make a waiting job due now; one that is already due stays where it is.

    Returns:
        True when the job waits to be claimed; False when it runs or has ended.

    Raises:
        JobNotFoundError: No such job.
    """
    require_possible_id(job_id)
    return storage.job_admin.run_now(job_id)


def delete(storage: Storage, job_id: str) -> DeleteOutcome:
    """Delete a job; a running one is asked to stop instead.

    Raises:
        JobNotFoundError: No such job.
    """
    require_possible_id(job_id)
    outcome = storage.job_admin.delete(job_id)
    if outcome is DeleteOutcome.NOT_FOUND:
        raise JobNotFoundError(job_id)
    return outcome


def cancel(
    storage: Storage, job_id: str, *, reason: str | None = None
) -> CancelOutcome:
    """End a job that waits, or ask one that runs to stop.

    Args:
        storage: Where the job is.
        job_id: The job.
        reason: At most 1,000 characters that become a part of a waiting job's last
            error; a running one ends as its worker says.

    Raises:
        InvalidInputError: The reason is too long.
        JobNotFoundError: No such job.
        JobStateError: The job has ended.
    """
    require_possible_id(job_id)
    if reason:
        check_text("reason", reason, MAX_REASON_LENGTH)
    return storage.job_admin.cancel(job_id, reason)


def reschedule(
    storage: Storage,
    job_id: str,
    *,
    redactor: Redactor,
    run_at: datetime | None = None,
    priority: int | None = None,
    queue_name: str | None = None,
) -> Job:
    """Change when, how urgently and where a job runs that waits; return it.

    Args:
        storage: Where the job is.
        job_id: The job.
        redactor: Masks secrets in its last error.
        run_at: Not before this instant; the past means now, None changes nothing.
        priority: Lower runs first; None changes nothing.
        queue_name: A registered queue; None changes nothing.

    Raises:
        InvalidInputError: A value is out of bounds.
        JobNotFoundError: No such job.
        QueueNotFoundError: No such queue.
        JobStateError: The job runs or has ended.
    """
    require_possible_id(job_id)
    if run_at is not None:
        check_run_at(run_at)
    if priority is not None:
        check_integer("priority", priority, *PRIORITY_RANGE)
    if queue_name is not None:
        check_queue_name(queue_name)
    storage.job_admin.reschedule(
        job_id, run_at=run_at, priority=priority, queue_name=queue_name
    )
    return masked(storage.job_reader.get(job_id), redactor)


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
