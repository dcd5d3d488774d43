"""Enqueue jobs; run now, cancel, delete, retry or reschedule one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_forge_jobs.errors import (
    ConflictError,
    InvalidInputError,
    JobNotFoundError,
    JobStateError,
)
from flask_forge_jobs.handlers.jobs import MAX_JOB_ID_LENGTH, require_possible_id
from flask_forge_jobs.handlers.kinds import KindLimit
from flask_forge_jobs.model.bounds import (
    DEFAULT_QUEUE,
    PRIORITY_RANGE,
    check_integer,
    check_kind,
    check_queue_name,
    check_run_at,
    check_text,
)
from flask_forge_jobs.model.bulk import (
    CancelOutcome,
    DeleteOutcome,
    JobAction,
    SkipReason,
)
from flask_forge_jobs.model.jobs import (
    EMPTY_PAYLOAD,
    MAX_BULK_JOBS,
    EnqueueResult,
    Job,
    NewJob,
)
from flask_forge_jobs.model.outcomes import MAX_REASON_LENGTH
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.request_keys import RequestKey
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.registry import TaskRegistry, job_of_kind
from flask_forge_jobs.tasks.routing import Router

DEMO_KIND = "noop_echo"
MAX_ENQUEUED_AT_ONCE = 1000
NO_TASKS = TaskRegistry()


@dataclass(frozen=True, slots=True)
class Admission:
    """Which queues take new jobs over HTTP.

    ``strict_queues`` refuses unregistered queues. ``max_queue_depth`` is how many jobs
    may wait in one queue, scheduled and failed ones included; 0 means no limit.
    ``kinds`` bounds the kinds of jobs; None allows any number. ``queues`` are all that
    the caller may know; None means every queue.
    """

    strict_queues: bool = False
    max_queue_depth: int = 0
    kinds: KindLimit | None = None
    queues: Collection[str] | None = None

    @property
    def max_waiting(self) -> int | None:
        """How many jobs may wait in one queue; None means the queue's own limit."""
        return self.max_queue_depth or None

    def check(
        self, storage: Storage, jobs: Sequence[NewJob], fields: Sequence[str] = ()
    ) -> None:
        """Check that queues are registered, if they are strict, and bound kinds.

        ``fields`` are as for :meth:`.KindLimit.check`.
        """
        if self.strict_queues:
            storage.queues.require(sorted({job.queue for job in jobs}))
        if self.kinds is not None:
            kinds = [job.kind for job in jobs]
            self.kinds.check(storage, kinds, self.queues, fields)


NO_LIMITS = Admission()


@dataclass(frozen=True, slots=True)
class EnqueueReport:
    """The results of a bulk enqueue, in order."""

    results: Sequence[EnqueueResult]

    @property
    def enqueued(self) -> int:
        """How many jobs are new."""
        return len(self.results) - self.deduped

    @property
    def deduped(self) -> int:
        """How many jobs were deduplicated."""
        return sum(result.is_deduped for result in self.results)

    @property
    def is_replayed(self) -> bool:
        """Whether this repeats the answer to an earlier request."""
        return any(result.is_replayed for result in self.results)


def new_job(
    *,
    kind: str,
    payload: object,
    router: Router,
    queue_name: str | None = None,
    is_key_of_queue: bool = False,
    registry: TaskRegistry | None = None,
    **options: Any,
) -> NewJob:
    """Return a job with its defaults filled in.

    ``options`` are those of :func:`.job_of_kind`, which come before those of a task in
    ``registry``. ``router`` chooses the queue if ``queue_name`` is None.
    ``is_key_of_queue`` is explained at :class:`.NewJob`.
    """
    check_kind(kind)
    if queue_name is None:
        queue_name = check_queue_name(router(kind))  # it may return None
    job = job_of_kind(
        NO_TASKS if registry is None else registry,
        router,
        kind,
        payload,
        queue=queue_name,
        **options,
    )
    return job.with_checked(is_key_of_queue=True) if is_key_of_queue else job


def enqueue(
    storage: Storage,
    job: NewJob,
    admission: Admission = NO_LIMITS,
    *,
    key: RequestKey | None = None,
) -> EnqueueResult:
    """Enqueue one job, or return the unfinished one that holds its dedupe key.

    The request key makes a repeated request safe for one day.

    Raises:
        DuplicateJobError: A job of another kind holds the dedupe key.
        RequestKeyReusedError: The request key was used for something else.
        QueueNotFoundError: The queue is not registered, and queues are strict.
        QueueFullError: Too many jobs wait in the queue.
    """
    admission.check(storage, [job])
    return storage.jobs.enqueue(job, key, max_waiting=admission.max_waiting)


def new_jobs(
    items: Sequence[Mapping[str, Any]],
    *,
    router: Router,
    is_key_of_queue: bool = False,
    registry: TaskRegistry | None = None,
    field: str = "items",
    least: int = 1,
) -> list[NewJob]:
    """Return ``least`` to 1,000 jobs, each with the arguments of :func:`new_job`.

    Errors name the item, such as ``items[3].kind``.
    """
    if not least <= len(items) <= MAX_ENQUEUED_AT_ONCE:
        raise InvalidInputError(
            field, f"has {len(items)} entries, not {least} to {MAX_ENQUEUED_AT_ONCE}"
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
            name = f"{field}[{index}].{error.field}"
            raise InvalidInputError(name, error.message) from error
        jobs.append(job)
    return jobs


def enqueue_many(
    storage: Storage,
    jobs: Sequence[NewJob],
    admission: Admission = NO_LIMITS,
    *,
    key: RequestKey | None = None,
) -> EnqueueReport:
    """Enqueue jobs like :func:`enqueue`, in one transaction."""
    admission.check(storage, jobs)
    results = storage.jobs.enqueue_many(jobs, key, max_waiting=admission.max_waiting)
    return EnqueueReport(results)


def enqueue_demo(
    storage: Storage, admission: Admission = NO_LIMITS, *, payload: object = None
) -> EnqueueResult:
    """Enqueue one job of the bundled demo kind in the default queue.

    Raises:
        QueueFullError: Too many jobs wait in the queue.
    """
    text = EMPTY_PAYLOAD if payload is None else dump(payload)
    job = NewJob.of_canonical(text, kind=DEMO_KIND, queue_name=DEFAULT_QUEUE)
    return enqueue(storage, job, admission)


def run_now(storage: Storage, job_id: str) -> bool:
    """Make a waiting job due now; return False if the job runs or has ended."""
    require_possible_id(job_id)
    return storage.job_admin.run_now(job_id)


def delete(storage: Storage, job_id: str) -> DeleteOutcome:
    """Delete a job; a running one is asked to stop."""
    require_possible_id(job_id)
    outcome = storage.job_admin.delete(job_id)
    if outcome is DeleteOutcome.NOT_FOUND:
        raise JobNotFoundError(job_id)
    return outcome


def cancel(
    storage: Storage, job_id: str, *, reason: str | None = None
) -> CancelOutcome:
    """End a waiting job, or ask a running one to stop.

    The reason, up to 1,000 characters, becomes part of the job's last error.

    Raises:
        JobStateError: The job has ended.
    """
    require_possible_id(job_id)
    if reason:
        check_text("reason", reason, MAX_REASON_LENGTH)
    return storage.job_admin.cancel(job_id, reason)


def retry(
    storage: Storage, job_id: str, *, restart: bool = False, dependents: bool = False
) -> Job:
    """Give a failed or dead job all its attempts again, due now; return the job.

    It goes on behind the last step that it has kept, unless ``restart`` drops them.
    With ``dependents``, the jobs that died with it wait for it again.

    Raises:
        JobStateError: The job waits, runs or is done.
        ConflictError: Another unfinished job holds its dedupe key.
    """
    require_possible_id(job_id)
    change = storage.job_admin.change(
        JobAction.RETRY, [job_id], restart=restart, dependents=dependents
    )
    reasons = {skip.reason for skip in change.skipped}
    job = change.job or storage.job_reader.get(job_id)
    if SkipReason.WRONG_STATUS in reasons:
        raise JobStateError(job_id, job.status)
    if SkipReason.DEDUPE_CONFLICT in reasons:
        raise ConflictError(
            f"another unfinished job holds the dedupe key of job {job_id}"
        )
    return job


def release(storage: Storage, job_id: str) -> Job:
    """Let a job wait for no other one; it is due once its own time has come.

    Raises:
        JobStateError: The job does not wait for others.
    """
    require_possible_id(job_id)
    return storage.links.release(job_id) or storage.job_reader.get(job_id)


def reschedule(
    storage: Storage,
    job_id: str,
    *,
    run_at: datetime | None = None,
    priority: int | None = None,
    queue_name: str | None = None,
) -> Job:
    """Change start, priority or queue of a waiting job; return the job.

    None changes nothing; a past ``run_at`` means now.

    Raises:
        JobStateError: The job runs or has ended.
    """
    require_possible_id(job_id)
    if run_at is not None:
        check_run_at(run_at)
    if priority is not None:
        check_integer("priority", priority, *PRIORITY_RANGE)
    if queue_name is not None:
        check_queue_name(queue_name)
    job = storage.job_admin.reschedule(
        job_id, run_at=run_at, priority=priority, queue_name=queue_name
    )
    return job or storage.job_reader.get(job_id)


def distinct_ids(job_ids: Sequence[str]) -> list[str]:
    """Return the ids of a bulk action without duplicates, in order."""
    if len(job_ids) > MAX_BULK_JOBS:
        raise InvalidInputError(
            "ids", f"has {len(job_ids)} entries; at most {MAX_BULK_JOBS} in one call"
        )
    for index, job_id in enumerate(job_ids):
        check_text(f"ids[{index}]", job_id, MAX_JOB_ID_LENGTH)
    return list(dict.fromkeys(job_ids))
