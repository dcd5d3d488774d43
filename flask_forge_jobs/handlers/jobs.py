"""Reads jobs: one in full, pages of them, and searches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.handlers.cursors import from_cursor, to_cursor
from flask_forge_jobs.handlers.filters import (
    IN_LISTING,
    IN_QUERY,
    checked_filter,
    searches_texts,
)
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.bounds import check_integer, check_text, shown
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import Job, JobFilter, JobStatus, JobSummary
from flask_forge_jobs.model.ordering import JobOrder, JobsPage, SortColumn, StatusCounts
from flask_forge_jobs.storage.base import Storage

MAX_PAGE_SIZE = 1000
MAX_OFFSET = 100_000
# A page with more jobs or behind more is expensive.
MAX_CHEAP_LIMIT = 200
MAX_CHEAP_OFFSET = 5000
MAX_JOB_ID_LENGTH = 64
MAX_KINDS = 1000
# Characters of its text; of a longer one, the page of a job shows the beginning.
LARGE_PAYLOAD = 65_536
DEFAULT_SORT = "-enqueued_at"
SORTS = tuple(f"{sign}{column}" for column in SortColumn for sign in ("", "-"))
COUNTS = ("exact", "none")
SORTED_WITHOUT_INDEX = (SortColumn.PRIORITY, SortColumn.ATTEMPTS)
_SOONEST_FIRST = JobOrder(SortColumn.SCHEDULED_AT, descending=False)


@dataclass(frozen=True, slots=True)
class JobDetail:
    """One job with its payload as a JSON value; secrets are masked."""

    row: Job
    payload: object


def inspect_job(storage: Storage, job_id: str, *, redactor: Redactor) -> JobDetail:
    """Return one job with payload and error history; secrets are masked."""
    require_possible_id(job_id)
    job = storage.job_reader.get(job_id)
    return JobDetail(row=job, payload=payload_value(job.payload, redactor, job))


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of a job, for a caller that waits for it; secrets are masked."""

    status: JobStatus
    is_ready: bool
    is_successful: bool
    # JSON text, see flask_forge_jobs.model.progress.
    progress: str | None
    result: object
    # Why the result is not stored.
    result_error: str | None
    ending: Ending | None
    # Of a job that is tried again, when.
    next_try: datetime | None


def job_state(storage: Storage, job_id: str, *, redactor: Redactor) -> JobState:
    """Return state, progress and result of one job; secrets are masked."""
    require_possible_id(job_id)
    job = storage.job_reader.get(job_id)
    return JobState(
        status=job.status,
        is_ready=job.status.is_final,
        is_successful=job.status is JobStatus.DONE,
        progress=masked_text(job.progress, redactor),
        result=json_value(job.result, redactor),
        result_error=job.result_error,
        ending=job.ending,
        next_try=job.scheduled_at if job.status is JobStatus.FAILED else None,
    )


def masked_text(text: str | None, redactor: Redactor) -> str | None:
    """Return a stored JSON text with its secrets masked."""
    if text is None:
        return None
    try:
        return json.dumps(redactor.payload(json.loads(text)))
    except (ValueError, RecursionError):
        return redactor.text(text)


def list_jobs(
    storage: Storage, job_filter: JobFilter, *, limit: int, offset: int
) -> JobsPage:
    """Return one page of jobs, the newest first, and the number of matches.

    States may be plain text. ``limit`` is 0 to 1,000, ``offset`` 0 to 100,000.
    """
    check_integer("limit", limit, 0, MAX_PAGE_SIZE)
    check_integer("offset", offset, 0, MAX_OFFSET)
    return storage.job_reader.page(
        checked_filter(job_filter, IN_LISTING), limit, offset
    )


def failed_jobs(
    storage: Storage, *, limit: int, queues: Sequence[str] | None = None
) -> JobsPage:
    """Return the newest failed jobs, 1 to 1,000, and the number of all."""
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    job_filter = JobFilter(queues=queues, statuses=(JobStatus.FAILED,))
    return storage.job_reader.page(job_filter, limit)


def scheduled_jobs(
    storage: Storage, queue_name: str | None, *, limit: int, offset: int
) -> JobsPage:
    """Return pending jobs that start later, the earliest first, and the number of all.

    ``queue_name`` is exact, None means all; an invalid name matches nothing. ``limit``
    is 1 to 1,000, ``offset`` 0 to 100,000.
    """
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    check_integer("offset", offset, 0, MAX_OFFSET)
    queues = None if queue_name is None else [queue_name]
    job_filter = JobFilter(queues=queues, scheduled=True)
    return storage.job_reader.page(job_filter, limit, offset, _SOONEST_FIRST)


def list_kinds(storage: Storage, queue_name: str | None) -> tuple[list[str], int]:
    """Return the first 1,000 kinds of the stored jobs, sorted, and the number of all.

    ``queue_name`` is exact, None means all; an invalid name matches nothing.
    """
    kinds = storage.job_reader.kinds(queue_name)
    return kinds[:MAX_KINDS], len(kinds)


def kinds_within(storage: Storage, queues: Sequence[str] | None) -> Sequence[str]:
    """Return up to 1,000 kinds of the stored jobs of some queues, sorted.

    None means all queues.
    """
    return sorted(storage.job_reader.named_kinds(queues))[:MAX_KINDS]


@dataclass(frozen=True, slots=True)
class JobListing:
    """One page; ``total`` is None if it was not requested."""

    rows: Sequence[JobSummary]
    next_cursor: str | None
    total: int | None


def find_jobs(
    storage: Storage,
    job_filter: JobFilter,
    *,
    sort: str = DEFAULT_SORT,
    limit: int,
    cursor: str | None = None,
    count: str = "none",
    redactor: Redactor,
) -> JobListing:
    """Return one page of jobs, the next cursor and the number of matches.

    Jobs that run have their last report of progress; secrets are masked.

    ``sort`` is a column, with ``-`` for descending order; by ``completed_at``,
    unfinished jobs come last in both orders. ``limit`` is 1 to 1,000, ``count`` is
    ``exact`` or ``none``. States may be plain text, ``scheduled`` too.

    Raises:
        StorageUnavailableError: The search exceeded the statement time limit.
    """
    order = order_of(sort)
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    if count not in COUNTS:
        raise InvalidInputError("count", f"{shown(count)} is neither exact nor none")
    job_filter = checked_filter(job_filter, IN_QUERY)
    after = None if cursor is None else from_cursor(cursor, job_filter, order)
    page = storage.job_reader.find(
        job_filter, order, limit, after, with_total=count == "exact"
    )
    return JobListing(
        rows=[masked_row(row, redactor) for row in page.rows],
        next_cursor=None
        if page.end is None
        else to_cursor(page.end, job_filter, order),
        total=page.total,
    )


def count_jobs(
    storage: Storage, job_filter: JobFilter, *, max_jobs: int | None = None
) -> StatusCounts:
    """Return the exact number of matching jobs in each state; ``pending`` is all of it.

    States may be plain text, ``scheduled`` too. Counting may stop behind ``max_jobs``
    jobs.

    Raises:
        StorageUnavailableError: The search exceeded the statement time limit.
    """
    return storage.job_reader.counts(checked_filter(job_filter, IN_QUERY), max_jobs)


def masked_row(job: JobSummary, redactor: Redactor) -> JobSummary:
    """Return a job whose last report of progress is masked."""
    if job.progress is None:
        return job
    return replace(job, progress=masked_text(job.progress, redactor))


def is_expensive(
    job_filter: JobFilter, *, limit: int = 0, offset: int = 0, sort: str = DEFAULT_SORT
) -> bool:
    """Return whether a read may walk or sort very many jobs, or fills megabytes.

    A caller may have one of them under way at a time.
    """
    return (
        limit > MAX_CHEAP_LIMIT
        or offset > MAX_CHEAP_OFFSET
        or searches_texts(job_filter)
        or job_filter.min_attempts > 0
        or job_filter.is_waiting
        or job_filter.batch_id is not None
        or sort.removeprefix("-") in SORTED_WITHOUT_INDEX
    )


def order_of(sort: str) -> JobOrder:
    """Return the order that a parameter means; raises InvalidInputError."""
    if sort not in SORTS:
        columns = ", ".join(SortColumn)
        raise InvalidInputError(
            "sort", f"{shown(sort)} is not one of {columns}, optionally with - in front"
        )
    column = SortColumn(sort.removeprefix("-"))
    return JobOrder(column, descending=sort.startswith("-"))


def require_possible_id(job_id: str) -> None:
    """Refuse text that cannot be an id, before it reaches a driver."""
    try:
        check_text("id", job_id, MAX_JOB_ID_LENGTH)
    except InvalidInputError as error:
        raise JobNotFoundError(job_id[:MAX_JOB_ID_LENGTH]) from error


def payload_value(
    text: str, redactor: Redactor, job: Job | None, max_values: int | None = None
) -> object:
    """Return a stored payload as a masked value.

    ``job`` is None for a schedule's. Of a large one, ``max_values`` values will do.
    """
    if len(text) <= LARGE_PAYLOAD:
        max_values = None
    try:
        return redactor.job_payload(job, json.loads(text), max_values)
    except (ValueError, RecursionError):
        # Something else damaged the row: show the text instead of hiding the job.
        return redactor.text(text)


def json_value(text: object, redactor: Redactor) -> object:
    """Return the value of a stored JSON text with its secrets masked, or None."""
    if not isinstance(text, str):
        return None
    try:
        return redactor.payload(json.loads(text))
    except (ValueError, RecursionError):
        return redactor.text(text)
