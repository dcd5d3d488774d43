"""Reads what a list shows: one page of jobs, and the matching jobs in each state.

Where no index answers, only some thousand jobs are searched and counted, until the
address asks for all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from werkzeug.utils import cached_property

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.dashboard.jobs.listings import PENDING
from flask_forge_jobs.dashboard.jobs.paging import Page, page_at
from flask_forge_jobs.dashboard.jobs.query import JobQuery
from flask_forge_jobs.dashboard.jobs.rows import MAX_ERROR, first_line
from flask_forge_jobs.dashboard.reads import kept_s
from flask_forge_jobs.handlers.cursors import to_cursor
from flask_forge_jobs.handlers.errors import dead_by_error
from flask_forge_jobs.handlers.filters import SCHEDULED
from flask_forge_jobs.handlers.job_search import (
    MAX_COUNTED,
    JobsSearched,
    has_condition_without_index,
    is_searched,
    search_jobs,
)
from flask_forge_jobs.handlers.jobs import (
    JobListing,
    count_jobs,
    find_jobs,
    kinds_within,
    order_of,
)
from flask_forge_jobs.model.error_groups import DeadGroups
from flask_forge_jobs.model.jobs import JobFilter, JobSummary
from flask_forge_jobs.model.ordering import Position, StatusCounts

T = TypeVar("T")
# Names that the filter offers.
OFFERED_KEPT_S = 60.0
_READS = frozenset((Permission.READ, Permission.PAYLOAD_REVEAL))


@dataclass(frozen=True, slots=True)
class _Read:
    """What one read gives; a page that is not searched has no counts."""

    page: Page
    counts: StatusCounts | None = None
    searched: int | None = None


class JobList:
    """One list; each part is read when a block asks for it.

    Raises:
        Forbidden: A queue is not the caller's, or the caller may not search payloads.
    """

    def __init__(self, api: Api, query: JobQuery) -> None:
        self._api = api
        self.query = query
        self.now = api.now
        self.job_filter = api.scope.limit(query.job_filter(self.now))
        if self.job_filter.payload_search is not None:
            # Payloads are searched unmasked.
            api.principal.require(Permission.PAYLOAD_REVEAL)

    def read(self) -> None:
        """Read all that a whole page shows."""
        _ = self.matching, self.page

    @cached_property
    def _read(self) -> _Read:
        return self._kept("page", self._read_page)

    @property
    def page(self) -> Page:
        """One page of jobs."""
        return self._read.page

    @property
    def searched(self) -> int | None:
        """How many jobs were looked at to find them; None means all that can match."""
        return self._read.searched if self._is_searched else None

    @cached_property
    def counts(self) -> StatusCounts:
        """The matching jobs by state, in other states too if that is cheap."""
        if self._has_own_counts:
            return cast("StatusCounts", self._read.counts)
        return self._kept("counts", self._read_counts)

    @cached_property
    def has_all_counts(self) -> bool:
        """Whether the counts are of all states, whichever the filter names."""
        return not self.query.listing.statuses and not self._has_own_counts

    @property
    def is_exact(self) -> bool:
        """Whether all matching jobs are counted."""
        is_part = self._has_own_counts and self.searched is not None
        return self.matching.bound is None and not is_part

    @cached_property
    def _is_searched(self) -> bool:
        return is_searched(self.job_filter, self.query.sort)

    @cached_property
    def _has_own_counts(self) -> bool:
        """Whether the search counts, because nothing else can."""
        return has_condition_without_index(self.job_filter)

    @cached_property
    def matching(self) -> StatusCounts:
        """The jobs that match, by state."""
        counts, chosen = self.counts, self.query.chosen_statuses
        if not chosen or not self.has_all_counts:
            return counts
        if counts.bound is not None:
            return self._kept("matching", lambda: self._counted(self.job_filter))
        if counts.scheduled is None and SCHEDULED in chosen and PENDING not in chosen:
            return self._kept("matching", lambda: self._counted(self.job_filter))
        return _within(counts, chosen)

    @cached_property
    def known_queues(self) -> Sequence[str]:
        """The queues that the caller may choose from, sorted."""
        storage, queues = self._api.storage, self._api.scope.queues
        if queues is not None:
            return sorted(queues)
        return self._offered("queues", lambda: [q.name for q in storage.queues.all()])

    @cached_property
    def known_kinds(self) -> Sequence[str]:
        """The kinds of the jobs in these queues, sorted."""
        names = self._api.scope.names()
        return self._offered("kinds", lambda: kinds_within(self._api.storage, names))

    def _offered(self, part: str, read: Callable[[], Sequence[str]]) -> Sequence[str]:
        """Return names that the filter offers; a new one may be missing for a while."""
        key = "offered", part, self._api.scope.queues
        return self._api.snapshots.get(key, read, kept_s=OFFERED_KEPT_S)

    @cached_property
    def dead(self) -> DeadGroups:
        """The matching dead jobs by the signatures of their errors."""
        chosen = self.job_filter

        def read() -> DeadGroups:
            return dead_by_error(
                self._api.storage, queue_names=chosen.queues, kinds=chosen.kinds
            )

        return self._kept("groups", read)

    def _kept(self, part: str, read: Callable[[], T]) -> T:
        query = self.query
        key = (query.listing.path, *query.pairs(), query.pin, self._api.scope.queues)
        return self._api.snapshots.get((*key, part), read, kept_s=kept_s())

    def _read_counts(self) -> StatusCounts:
        job_filter = self.job_filter
        if self.has_all_counts:
            job_filter = replace(job_filter, statuses=(), scheduled=False)
        return self._counted(job_filter)

    def _counted(self, job_filter: JobFilter) -> StatusCounts:
        if not self.query.is_whole:
            return count_jobs(self._api.storage, job_filter, max_jobs=MAX_COUNTED)
        with self._api.reading_much():
            return count_jobs(self._api.storage, job_filter)

    def _read_page(self) -> _Read:
        query = self.query
        if not self._is_searched:
            return _Read(page_at(query, self._find))
        # Each page of a search is a search, so that none is pinned.
        query, searches = replace(query, pin=None), list[JobsSearched]()

        def search(sort: str, after: Position | None, limit: int) -> JobListing:
            searches.append(self._search(sort, after, limit))
            return JobListing(
                [*map(_small, searches[-1].rows)], searches[-1].next_cursor, 0
            )

        with self._api.reading_much() if query.is_whole else nullcontext():
            page = replace(page_at(query, search), pin=None)
        return _Read(page, searches[-1].counts, searches[-1].searched)

    def _search(self, sort: str, after: Position | None, limit: int) -> JobsSearched:
        return search_jobs(
            self._api.storage,
            self.job_filter,
            sort=sort,
            limit=limit,
            cursor=self._cursor(sort, after),
            is_bounded=not self.query.is_whole,
            redactor=self._api.masking_redactor,
        )

    def _cursor(self, sort: str, after: Position | None) -> str | None:
        if after is None:
            return None
        return to_cursor(after, self.job_filter, order_of(sort))

    def _find(self, sort: str, after: Position | None, limit: int) -> JobListing:
        listing = find_jobs(
            self._api.storage,
            self.job_filter,
            sort=sort,
            limit=limit,
            cursor=self._cursor(sort, after),
            redactor=self._api.masking_redactor,
        )
        return replace(listing, rows=[_small(job) for job in listing.rows])


def _small(job: JobSummary) -> JobSummary:
    """Return a job without the rest of its error, since many pages are kept."""
    error = job.last_error
    if error is None or len(error) <= MAX_ERROR:
        return job
    return replace(job, last_error=first_line(error))


def may_now(api: Api) -> Collection[Permission]:
    """Return the permissions that the caller may use now."""
    may = api.principal.permissions
    return may & _READS if api.is_read_only else may


def _within(counts: StatusCounts, chosen: Sequence[str]) -> StatusCounts:
    """Return the counts of some states."""
    kept = {word: getattr(counts, word) for word in chosen if word != SCHEDULED}
    scheduled = counts.scheduled
    if PENDING in chosen:
        return StatusCounts(scheduled=scheduled, **kept)
    if SCHEDULED not in chosen or scheduled is None:
        return StatusCounts(**kept)
    return StatusCounts(pending=scheduled, scheduled=scheduled, **kept)
