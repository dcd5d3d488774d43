"""Job search: any filter, any order, page by page."""

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
    """One page; ``total`` is None if it was not requested."""

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
    """Return one page of jobs, the next cursor and the number of matches.

    ``sort`` is a column, with ``-`` for descending order; by ``completed_at``,
    unfinished jobs come last in both orders. ``limit`` is 1 to 1,000, ``count`` is
    ``exact`` or ``none``. States may be plain text, ``scheduled`` too.

    Raises:
        StorageUnavailableError: The search exceeded the statement time limit.
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
            "sort", f"{shown(sort)} is not one of {columns}, optionally with - in front"
        )
    column = SortColumn(sort.removeprefix("-"))
    return JobOrder(column, descending=sort.startswith("-"))
