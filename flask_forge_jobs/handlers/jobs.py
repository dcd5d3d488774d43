"""Reading jobs: one job in full, and pages of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.bounds import check_integer, check_text
from flask_forge_jobs.model.instants import MAX_INSTANT_US, to_micros
from flask_forge_jobs.model.jobs import (
    ErrorEntry,
    JobFilter,
    JobsPage,
    JobStatus,
    JobSummary,
)
from flask_forge_jobs.storage.base import Storage

Shown = TypeVar("Shown", bound=JobSummary)
MAX_PAGE_SIZE = 1000
MAX_OFFSET = 100_000
PAYLOAD_SEARCH_LENGTH = (2, 256)
MAX_JOB_ID_LENGTH = 64
MAX_KINDS = 1000
# More names than this in one filter are a mistake, and SQLite binds at most 32,766
# values in a statement.
MAX_FILTER_VALUES = 1000
MAX_NAME_LENGTH = 255


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
        row=_masked(job, redactor),
        payload=_payload_value(job.payload, redactor),
        error_history=[
            replace(entry, message=redactor.text(entry.message))
            for entry in job.error_history
        ],
    )


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
    page = storage.job_reader.page(_checked(wanted), limit, offset)
    return replace(page, rows=[_masked(job, redactor) for job in page.rows])


def failed_jobs(
    storage: Storage, *, limit: int, redactor: Redactor, queues: Sequence[str] = ()
) -> JobsPage:
    """Return the newest jobs that wait for a retry, and the true number of them.

    Args:
        storage: Where the jobs are.
        limit: Most rows, 1 to 1000.
        redactor: Masks secrets in error texts.
        queues: Only of these queues; none means all.

    Raises:
        InvalidInputError: ``limit`` is out of bounds.
        StorageUnavailableError: The database could not be reached.
    """
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    wanted = JobFilter(queues=tuple(queues), statuses=(JobStatus.FAILED,))
    page = storage.job_reader.page(wanted, limit)
    return replace(page, rows=[_masked(job, redactor) for job in page.rows])


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
    return replace(page, rows=[_masked(job, redactor) for job in page.rows])


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


def _checked(wanted: JobFilter) -> JobFilter:
    for name, values in (("queues", wanted.queues), ("kinds", wanted.kinds)):
        field = f"filter.{name}"
        if len(values) > MAX_FILTER_VALUES:
            raise InvalidInputError(field, f"has more than {MAX_FILTER_VALUES} names")
        for index, value in enumerate(values):
            check_text(f"{field}[{index}]", value, MAX_NAME_LENGTH)
    statuses = [JobStatus.parse(word, "filter.statuses") for word in wanted.statuses]
    _check_window(wanted.enqueued_from, wanted.enqueued_to)
    return replace(
        wanted,
        statuses=tuple(dict.fromkeys(statuses)),
        payload_search=_checked_search(wanted.payload_search),
    )


def _check_window(start: datetime | None, end: datetime | None) -> None:
    for field, instant in (("filter.from", start), ("filter.to", end)):
        if instant is None:
            continue
        if instant.utcoffset() is None:
            raise InvalidInputError(field, "has no time zone")
        if not 0 <= to_micros(instant) <= MAX_INSTANT_US:
            raise InvalidInputError(field, "is not within the years 1970 to 9999 (UTC)")
    if start is not None and end is not None and start > end:
        raise InvalidInputError("filter.from", "lies after filter.to")


def _checked_search(text: str | None) -> str | None:
    trimmed = text.strip() if text is not None else ""
    if not trimmed:
        return None
    shortest, longest = PAYLOAD_SEARCH_LENGTH
    check_text("filter.payload_search", trimmed, longest)
    if len(trimmed) < shortest:
        raise InvalidInputError(
            "filter.payload_search", f"must have {shortest} to {longest} characters"
        )
    return trimmed


def _masked(job: Shown, redactor: Redactor) -> Shown:
    if job.last_error is None:
        return job
    return replace(job, last_error=redactor.text(job.last_error))


def _payload_value(text: str, redactor: Redactor) -> object:
    try:
        return redactor.payload(json.loads(text))
    except (ValueError, RecursionError):
        # A row damaged outside our gate: show what is there instead of hiding the job.
        return redactor.text(text)
