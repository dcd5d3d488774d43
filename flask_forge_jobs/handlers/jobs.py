"""Reading jobs: one job in full, and pages of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.handlers.filters import IN_LISTING, checked_filter
from flask_forge_jobs.handlers.redaction import Redactor, Unmasked
from flask_forge_jobs.model.bounds import check_integer, check_text
from flask_forge_jobs.model.jobs import (
    ErrorEntry,
    Job,
    JobFilter,
    JobsPage,
    JobStatus,
    JobSummary,
)
from flask_forge_jobs.storage.base import Storage

Shown = TypeVar("Shown", bound=JobSummary)
MAX_PAGE_SIZE = 1000
MAX_OFFSET = 100_000
MAX_JOB_ID_LENGTH = 64
MAX_KINDS = 1000


@dataclass(frozen=True, slots=True)
class JobDetail:
    """One job with its payload as a JSON value; secrets are masked."""

    row: JobSummary
    payload: object
    error_history: Sequence[ErrorEntry]


def inspect_job(storage: Storage, job_id: str, *, redactor: Redactor) -> JobDetail:
    """Return one job with payload and error history.

    Args:
        storage: Where the job is.
        job_id: Any text; what cannot be an id is a job that does not exist.
        redactor: Masks secrets in payload and error texts.

    Raises:
        JobNotFoundError: No such job.
        StorageUnavailableError: The database could not be reached.
    """
    require_possible_id(job_id)
    job = storage.job_reader.get(job_id)
    return JobDetail(
        row=masked(job, redactor),
        payload=payload_value(job.payload, redactor, job),
        error_history=_masked_history(job, redactor),
    )


@dataclass(frozen=True, slots=True)
class JobRecord(JobDetail):
    """One job with all that is known of it; secrets are masked.

    Args:
        throttle_attempts: How often in a row the task asked to be run later.
        cancel_requested_at: When somebody asked it to stop.
        progress: What the task reported last.
        result: What the task returned.
        result_error: Why what it returned is not kept; None when it is.
        wait_ms: From being due to the last start; None before it, and while the job
            waits for another.
        run_ms: From the last start to the end; None before it.
        redacted: Whether something was masked.
        traceback: The last 20 frames of the last exception of the task; None without
            one.
    """

    throttle_attempts: int
    cancel_requested_at: datetime | None
    progress: object
    result: object
    result_error: str | None
    wait_ms: int | None
    run_ms: int | None
    redacted: bool
    traceback: str | None


def read_job(storage: Storage, job_id: str, *, redactor: Redactor) -> JobRecord:
    """Return one job with payload, history, progress, result and timings.

    Args:
        storage: Where the job is.
        job_id: Any text; what cannot be an id is a job that does not exist.
        redactor: Masks secrets in payload, progress, result and error texts.

    Raises:
        JobNotFoundError: No such job.
        StorageUnavailableError: The database could not be reached.
    """
    require_possible_id(job_id)
    job = storage.job_reader.get(job_id)
    shown, stored = (_record(job, each) for each in (redactor, Unmasked()))
    return replace(shown, redacted=shown != stored)


@dataclass(frozen=True, slots=True)
class JobState:
    """How a job gets on, as whoever waits for it may know; secrets are masked.

    Args:
        status: Its state.
        is_ready: Whether it has ended.
        is_successful: Whether it has ended and its task has returned.
        progress: What the task reported last.
        result: What the task returned.
        result_error: Why what it returned is not kept; None when it is.
    """

    status: JobStatus
    is_ready: bool
    is_successful: bool
    progress: object
    result: object
    result_error: str | None


def job_state(storage: Storage, job_id: str, *, redactor: Redactor) -> JobState:
    """Return state, progress and result of one job, and nothing else.

    Args:
        storage: Where the job is.
        job_id: Any text; what cannot be an id is a job that does not exist.
        redactor: Masks secrets in progress and result.

    Raises:
        JobNotFoundError: No such job.
        StorageUnavailableError: The database could not be reached.
    """
    require_possible_id(job_id)
    job = storage.job_reader.get(job_id)
    return JobState(
        status=job.status,
        is_ready=job.status.is_final,
        is_successful=job.status is JobStatus.DONE,
        progress=_progress(job.progress, redactor),
        result=None if job.result is None else _json_value(job.result, redactor),
        result_error=job.result_error,
    )


def _record(job: Job, redactor: Redactor) -> JobRecord:
    started, ended = job.started_at, job.completed_at
    return JobRecord(
        row=masked(job, redactor),
        payload=payload_value(job.payload, redactor, job),
        error_history=_masked_history(job, redactor),
        throttle_attempts=job.throttle_attempts,
        cancel_requested_at=job.cancel_requested_at,
        progress=_progress(job.progress, redactor),
        result=None if job.result is None else _json_value(job.result, redactor),
        result_error=job.result_error,
        wait_ms=_milliseconds(job.scheduled_at, started),
        run_ms=_milliseconds(started, ended),
        redacted=False,
        traceback=None if job.traceback is None else redactor.text(job.traceback),
    )


def _progress(text: str | None, redactor: Redactor) -> object:
    """Return what a task reported as an object, which is what readers expect."""
    value = None if text is None else _json_value(text, redactor)
    return value if value is None or isinstance(value, dict) else {"value": value}


def _milliseconds(start: datetime | None, end: datetime | None) -> int | None:
    if start is None or end is None or end < start:
        return None
    return (end - start) // timedelta(milliseconds=1)


def list_jobs(
    storage: Storage,
    wanted: JobFilter,
    *,
    limit: int,
    offset: int,
    redactor: Redactor,
) -> JobsPage:
    """Return one page of jobs, the newest first, with the true number of matches.

    Args:
        storage: Where the jobs are.
        wanted: Which jobs; states may be given as plain text.
        limit: Page size, 0 to 1000.
        offset: Jobs to skip, 0 to 100000.
        redactor: Masks secrets in error texts.

    Raises:
        InvalidInputError: A value is out of bounds; fields of the filter are named
            ``filter.…``.
        StorageUnavailableError: The database could not be reached.
    """
    check_integer("limit", limit, 0, MAX_PAGE_SIZE)
    check_integer("offset", offset, 0, MAX_OFFSET)
    page = storage.job_reader.page(checked_filter(wanted, IN_LISTING), limit, offset)
    return replace(page, rows=[masked(job, redactor) for job in page.rows])


def failed_jobs(
    storage: Storage,
    *,
    limit: int,
    redactor: Redactor,
    queues: Sequence[str] | None = None,
) -> JobsPage:
    """Return the newest jobs that wait for a retry, and the true number of them.

    Args:
        storage: Where the jobs are.
        limit: Most rows, 1 to 1000.
        redactor: Masks secrets in error texts.
        queues: Only of these queues; None means all.

    Raises:
        InvalidInputError: ``limit`` is out of bounds.
        StorageUnavailableError: The database could not be reached.
    """
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    wanted = JobFilter(queues=queues, statuses=(JobStatus.FAILED,))
    page = storage.job_reader.page(wanted, limit)
    return replace(page, rows=[masked(job, redactor) for job in page.rows])


def scheduled_jobs(
    storage: Storage,
    queue_name: str | None,
    *,
    limit: int,
    offset: int,
    redactor: Redactor,
) -> JobsPage:
    """Return pending jobs whose time lies ahead, the earliest first, and their number.

    Args:
        storage: Where the jobs are.
        queue_name: Exact name; None means every queue. A name that no queue can have
            is a queue without jobs, not an error.
        limit: Most rows, 1 to 1000.
        offset: Jobs to skip, 0 to 100000.
        redactor: Masks secrets in error texts.

    Raises:
        InvalidInputError: ``limit`` or ``offset`` is out of bounds.
        StorageUnavailableError: The database could not be reached.
    """
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    check_integer("offset", offset, 0, MAX_OFFSET)
    page = storage.job_reader.scheduled(queue_name, limit, offset)
    return replace(page, rows=[masked(job, redactor) for job in page.rows])


def list_kinds(storage: Storage, queue_name: str | None) -> tuple[list[str], int]:
    """Return the kinds of the stored jobs, sorted, and how many there are.

    Args:
        storage: Where the jobs are.
        queue_name: Exact name; None means every queue. A name that no queue can have
            is a queue without jobs, not an error.

    Returns:
        At most the first 1,000 kinds, and the number of all.

    Raises:
        StorageUnavailableError: The database could not be reached.
    """
    kinds = storage.job_reader.kinds(queue_name)
    return kinds[:MAX_KINDS], len(kinds)


def require_possible_id(job_id: str) -> None:
    """Refuse text that cannot be a job's id before a driver chokes on it.

    Raises:
        JobNotFoundError: Empty, longer than 64 characters, or not storable.
    """
    try:
        check_text("id", job_id, MAX_JOB_ID_LENGTH)
    except InvalidInputError as error:
        raise JobNotFoundError(job_id[:MAX_JOB_ID_LENGTH]) from error


def masked(job: Shown, redactor: Redactor) -> Shown:
    """Return a job without secrets in its error text."""
    if job.last_error is None:
        return job
    return replace(job, last_error=redactor.text(job.last_error))


def _masked_history(job: Job, redactor: Redactor) -> list[ErrorEntry]:
    return [
        replace(entry, message=redactor.text(entry.message))
        for entry in job.error_history
    ]


def payload_value(text: str, redactor: Redactor, job: Job | None) -> object:
    """Return a stored payload as a value, as it may be shown.

    Args:
        text: The stored JSON.
        redactor: Masks secrets.
        job: Whose payload it is; None for a schedule's.
    """
    try:
        return redactor.job_payload(job, json.loads(text))
    except (ValueError, RecursionError):
        # A row damaged outside our gate: show what is there instead of hiding the job.
        return redactor.text(text)


def _json_value(text: str, redactor: Redactor) -> object:
    try:
        return redactor.payload(json.loads(text))
    except (ValueError, RecursionError):
        return redactor.text(text)
