"""Failures of the last month, grouped by the signatures of their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask_forge_jobs.handlers.cursors import from_errors_cursor, to_errors_cursor
from flask_forge_jobs.handlers.filters import IN_QUERY, checked_filter
from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.error_groups import (
    DeadGroups,
    ErrorDetail,
    ErrorGroup,
    ErrorOrder,
    ErrorRange,
)
from flask_forge_jobs.model.jobs import JobFilter
from flask_forge_jobs.storage.base import Storage

MAX_ERROR_GROUPS = 200
_MAX_DEAD_GROUPS = 50


@dataclass(frozen=True, slots=True)
class ErrorListing:
    """One page of groups, the cursor of the next one, and sums of all groups.

    ``total`` is how many there are, ``failures`` their failures in the range, ``fresh``
    how many are new: since an hour in a day, else since a day.
    """

    groups: Sequence[ErrorGroup]
    next_cursor: str | None
    total: int
    failures: int
    fresh: int


def list_errors(
    storage: Storage,
    *,
    queue_names: Sequence[str] | None = None,
    kinds: Sequence[str] = (),
    within: str = ErrorRange.MONTH,
    sort: str = ErrorOrder.COUNT,
    limit: int = 50,
    cursor: str | None = None,
) -> ErrorListing:
    """Return one page of the failures of a range, grouped by signature.

    Args:
        storage: The stores.
        queue_names: Only failures and jobs of these queues; None means all.
        kinds: Only those of these kinds; none means all.
        within: ``24h``, ``7d`` or ``30d``, the current hour or day included.
        sort: ``-count`` or ``-last_seen``.
        limit: Most groups, 1 to 200.
        cursor: Of the page before, with the same arguments.

    Raises:
        InvalidInputError: An argument is out of bounds; names it.
    """
    window = ErrorRange.parse(within, "range")
    order = ErrorOrder.parse(sort, "sort")
    check_integer("limit", limit, 1, MAX_ERROR_GROUPS)
    job_filter = JobFilter(queues=queue_names, kinds=tuple(kinds))
    job_filter = checked_filter(job_filter, IN_QUERY)
    binding = window, order
    after = None if cursor is None else from_errors_cursor(cursor, job_filter, binding)
    page = storage.errors.page(
        window,
        order,
        limit,
        after,
        queue_names=job_filter.queues,
        kinds=job_filter.kinds,
    )
    return ErrorListing(
        page.groups,
        None if page.end is None else to_errors_cursor(page.end, job_filter, binding),
        page.total,
        page.failures,
        page.fresh,
    )


def dead_by_error(
    storage: Storage,
    *,
    queue_names: Sequence[str] | None = None,
    kinds: Sequence[str] = (),
) -> DeadGroups:
    """Return at most 50 signatures of the dead jobs, those of the most first.

    Cancelled jobs have none. Arguments as for :func:`list_errors`.

    Raises:
        InvalidInputError: An argument is out of bounds; names it.
    """
    job_filter = JobFilter(queues=queue_names, kinds=tuple(kinds))
    job_filter = checked_filter(job_filter, IN_QUERY)
    return storage.errors.dead(
        _MAX_DEAD_GROUPS, queue_names=job_filter.queues, kinds=job_filter.kinds
    )


def one_error(
    storage: Storage,
    signature: str,
    *,
    queue_names: Sequence[str] | None = None,
    within: str = ErrorRange.MONTH,
) -> ErrorDetail | None:
    """Return the failures with one signature, and their kinds; None without any.

    Arguments as for :func:`list_errors`. ``count`` may be 0 if they are older.

    Raises:
        InvalidInputError: An argument is out of bounds; names it.
    """
    window = ErrorRange.parse(within, "range")
    checked_filter(JobFilter(signature=signature), IN_QUERY)
    return storage.errors.group(signature, window, queue_names=queue_names)
