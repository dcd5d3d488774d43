"""Searches jobs for pages, within a bound: what no index answers costs a part only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.handlers.cursors import from_cursor, to_cursor
from flask_forge_jobs.handlers.filters import IN_QUERY, checked_filter, searches_texts
from flask_forge_jobs.handlers.jobs import SORTED_WITHOUT_INDEX, masked_row, order_of
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.jobs import JobFilter, JobSummary
from flask_forge_jobs.model.ordering import SortColumn, StatusCounts
from flask_forge_jobs.storage.base import Storage

# Counting stops behind so many jobs, unless the number is known without counting.
MAX_COUNTED = 10_000


def has_condition_without_index(job_filter: JobFilter) -> bool:
    """Return whether matching jobs are known only after a look at each."""
    return (
        searches_texts(job_filter)
        or job_filter.is_waiting
        or job_filter.min_attempts > 0
        or job_filter.ending is not None
        or job_filter.slot_id is not None
    )


def is_searched(job_filter: JobFilter, sort: str) -> bool:
    """Return whether the first jobs are known only after a look at all that match."""
    column = SortColumn(sort.removeprefix("-"))
    has_own_index = (
        job_filter.dedupe_key, job_filter.schedule_name, job_filter.signature,
        job_filter.batch_id,
    ) != (None, None, None, None)  # fmt: skip
    return (
        has_condition_without_index(job_filter)
        or column in SORTED_WITHOUT_INDEX
        or (has_own_index and column is not SortColumn.ENQUEUED_AT)
    )


@dataclass(frozen=True, slots=True)
class JobsSearched:
    """One page, and the matching jobs in each state; ``searched`` of None means all."""

    rows: Sequence[JobSummary]
    next_cursor: str | None
    counts: StatusCounts
    searched: int | None


def search_jobs(
    storage: Storage,
    job_filter: JobFilter,
    *,
    sort: str,
    limit: int,
    cursor: str | None,
    is_bounded: bool,
    redactor: Redactor,
) -> JobsSearched:
    """Return one page of jobs and the number of matches, from one pass.

    By ``completed_at`` only finished jobs have a place. A bounded search may look at
    some thousand jobs only, mostly the newest ones.

    Raises:
        StorageUnavailableError: The search exceeded the statement time limit.
    """
    order, job_filter = order_of(sort), checked_filter(job_filter, IN_QUERY)
    after = None if cursor is None else from_cursor(cursor, job_filter, order)
    page = storage.job_search.page(
        job_filter, order, limit, after, is_bounded=is_bounded
    )
    return JobsSearched(
        rows=[masked_row(row, redactor) for row in page.rows],
        next_cursor=None
        if page.end is None
        else to_cursor(page.end, job_filter, order),
        counts=page.counts,
        searched=page.searched,
    )
