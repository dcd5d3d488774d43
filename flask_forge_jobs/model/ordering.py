"""Orders of jobs, and where in them a page ends.

A page starts after the last job of the page before, not after a number of jobs, so new
or deleted jobs cannot shift others across the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from flask_forge_jobs.model.instants import MAX_INSTANT_US
from flask_forge_jobs.model.jobs import JobSummary

# Behind every instant and id of a list whose newest rows come first.
FROM_THE_NEWEST = (MAX_INSTANT_US, "~")
# Before each of a list whose oldest rows come first.
FROM_THE_OLDEST = (0, "")


class SortColumn(StrEnum):
    """Columns to sort jobs by; the id decides between equal ones."""

    ENQUEUED_AT = "enqueued_at"
    SCHEDULED_AT = "scheduled_at"
    COMPLETED_AT = "completed_at"
    PRIORITY = "priority"
    ATTEMPTS = "attempts"


@dataclass(frozen=True, slots=True)
class JobOrder:
    """An order of jobs; by ``completed_at``, unfinished ones come last either way."""

    column: SortColumn = SortColumn.ENQUEUED_AT
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Position:
    """The place of one job in an order; ``key`` is its sort value.

    Instants are microseconds since the epoch. For an unfinished job without a
    ``completed_at``, the key is its ``enqueued_at``.
    """

    key: int
    id: str
    is_unfinished: bool = False


@dataclass(frozen=True, slots=True)
class StatusCounts:
    """The number of matching jobs in each state; ``pending`` includes ``scheduled``.

    ``scheduled`` is None where counting it would read very many jobs. With a ``bound``,
    more jobs than it match, and the states are those of some of them, or of none.
    """

    pending: int = 0
    in_progress: int = 0
    done: int = 0
    failed: int = 0
    dead: int = 0
    scheduled: int | None = 0
    bound: int | None = None

    @property
    def total(self) -> int:
        """The number of matching jobs, or the bound."""
        if self.bound is not None:
            return self.bound
        return self.pending + self.in_progress + self.done + self.failed + self.dead


@dataclass(frozen=True, slots=True)
class KeysetPage:
    """One page; ``end`` is None on the last page, ``total`` if it was not counted."""

    rows: Sequence[JobSummary]
    end: Position | None
    total: int | None


@dataclass(frozen=True, slots=True)
class JobsPage:
    """One page of a listing, and the exact number of matching jobs."""

    rows: Sequence[JobSummary]
    total: int
    limit: int
    offset: int
