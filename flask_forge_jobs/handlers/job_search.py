"""Finding jobs: any filter, any order, page after page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.handlers.cursors import from_cursor, to_cursor
from flask_forge_jobs.handlers.filters import IN_QUERY, checked_filter
from flask_forge_jobs.handlers.jobs import MAX_PAGE_SIZE, masked
from flask_forge_jobs.handlers.redaction import Redactor
from flask_forge_jobs.model.bounds import check_integer, shown
from flask_forge_jobs.model.jobs import JobFilter, JobSummary
from flask_forge_jobs.model.ordering import JobOrder, SortColumn
from flask_forge_jobs.storage.base import Storage

DEFAULT_SORT = "-enqueued_at"
SORTS = tuple(f"{sign}{column}" for column in SortColumn for sign in ("", "-"))
COUNTS = ("exact", "none")


@dataclass(frozen=True, slots=True)
class JobsFound:
    """One page; ``total`` is None when it was not asked for."""

    rows: Sequence[JobSummary]
    next_cursor: str | None
    total: int | None


def find_jobs(
    storage: Storage,
    wanted: JobFilter,
    *,
    sort: str,
    limit: int,
    cursor: str | None,
    count: str,
    redactor: Redactor,
) -> JobsFound:
    """Return one page of jobs, where it ends, and the true number of matches.

    Args:
        storage: Where the jobs are.
        wanted: Which jobs; states may be given as plain text, ``scheduled`` too.
        sort: A column, with ``-`` before it for the largest first. Jobs that have not
            ended come last by ``completed_at``, either way.
        limit: Page size, 1 to 1000.
        cursor: ``next_cursor`` of the page before, of the same filter and sort; None
            begins at the first job.
        count: ``exact`` or ``none``.
        redactor: Masks secrets in error texts.

    Raises:
        InvalidInputError: A value is out of bounds.
        StorageUnavailableError: The database could not be reached, or the search took
            longer than the statement limit.
    """
    order = _order(sort)
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    if count not in COUNTS:
        raise InvalidInputError("count", f"{shown(count)} is neither exact nor none")
    wanted = checked_filter(wanted, IN_QUERY)
    after = None if cursor is None else from_cursor(cursor, wanted, order)
    found = storage.job_reader.find(
        wanted, order, limit, after, with_total=count == "exact"
    )
    return JobsFound(
        rows=[masked(job, redactor) for job in found.rows],
        next_cursor=None if found.end is None else to_cursor(found.end, wanted, order),
        total=found.total,
    )


def _order(sort: str) -> JobOrder:
    if sort not in SORTS:
        columns = ", ".join(SortColumn)
        raise InvalidInputError(
            "sort", f"{shown(sort)} is not one of {columns}, with - before it or not"
        )
    column = SortColumn(sort.removeprefix("-"))
    return JobOrder(column, descending=sort.startswith("-"))
