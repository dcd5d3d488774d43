"""In which order jobs are listed, and where in it a page ends.

A page goes on after the last job of the page before, not after a number of jobs, so
that what is stored or deleted meanwhile moves nothing across the border of two pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from flask_forge_jobs.model.jobs import JobSummary


class SortColumn(StrEnum):
    """What jobs can be listed by; of two equal ones the id decides."""

    ENQUEUED_AT = "enqueued_at"
    SCHEDULED_AT = "scheduled_at"
    COMPLETED_AT = "completed_at"
    PRIORITY = "priority"
    ATTEMPTS = "attempts"


@dataclass(frozen=True, slots=True)
class JobOrder:
    """An order of jobs; unfinished ones come last by ``completed_at``, either way."""

    column: SortColumn = SortColumn.ENQUEUED_AT
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Position:
    """The place of one job in an order.

    Args:
        key: The value it is sorted by; microseconds since the epoch for an instant.
        id: Its id.
        is_unfinished: It has no ``completed_at``; ``key`` is its ``enqueued_at``.
    """

    key: int
    id: str
    is_unfinished: bool = False


@dataclass(frozen=True, slots=True)
class FoundJobs:
    """One page of a listing.

    Args:
        rows: The jobs.
        end: Where the next page goes on; None after the last job.
        total: How many jobs match; None when nobody asked.
    """

    rows: Sequence[JobSummary]
    end: Position | None
    total: int | None
