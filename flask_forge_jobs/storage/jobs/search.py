"""Search: one page of the jobs that match conditions without an index, and how many.

One pass finds both. A bounded search reads so many jobs only, however many are stored:
all that can match if these are few, otherwise the newest ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask_forge_jobs.model.jobs import JobFilter, JobStatus, JobSummary
from flask_forge_jobs.model.ordering import JobOrder, Position, StatusCounts
from flask_forge_jobs.storage.database import Executor, Parameter
from flask_forge_jobs.storage.jobs.listing import Listing
from flask_forge_jobs.storage.jobs.streams import OF_COMBINATION, way
from flask_forge_jobs.storage.rows import summary_from_row

# Up to so many jobs that can match are all read, by the index of their combinations.
MAX_FEW = 4_000
# Otherwise so many of all jobs, in the order of their ids, which costs a third.
NEWEST = 5_000
# Or, of jobs that are few among all, so many in equal parts of each combination.
MAX_OF_EACH = 4_000
# Few means that the newest of all jobs would have fewer of them.
_SHARE = 2
# More jobs than there can be.
_ALL = 10**9
# As :class:`.StatusCounts` has them: of each state, and of those that start later.
_COUNTS = len(JobStatus) + 1


@dataclass(frozen=True, slots=True)
class SearchedJobs:
    """One page, and the number of matching jobs in each state.

    ``end`` is None on the last page. ``searched`` is how many jobs were looked at; None
    means all that can match.
    """

    rows: Sequence[JobSummary]
    end: Position | None
    counts: StatusCounts
    searched: int | None


_NOTHING = SearchedJobs((), None, StatusCounts(), None)


class JobSearch:
    """Searches jobs; writes nothing."""

    def __init__(self, database: Executor) -> None:
        self._database = database

    def page(
        self,
        job_filter: JobFilter,
        order: JobOrder,
        limit: int,
        after: Position | None = None,
        *,
        is_bounded: bool = True,
    ) -> SearchedJobs:
        """Return one page of the matching jobs and their number, from one pass.

        For conditions and orders without an index; by ``completed_at``, of finished
        jobs only. A bounded search may leave out older jobs, and says so.

        Raises:
            StorageUnavailableError: It took longer than the statement limit.
        """
        return self._database.read(
            lambda transaction: SearchListing(transaction, job_filter).search(
                order, limit, after, is_bounded=is_bounded
            )
        )


class SearchListing(Listing):
    """One filter in one snapshot, whose jobs are looked at one by one."""

    def search(
        self,
        order: JobOrder,
        limit: int,
        after: Position | None = None,
        *,
        is_bounded: bool = True,
    ) -> SearchedJobs:
        """Return one page of the matching jobs; only finished ones have an end."""
        if not self._counts:
            return _NOTHING
        name, parameters, searched = self._source(is_bounded=is_bounded)
        at, job_id = self._start(order, after)
        page: dict[str, Parameter] = {
            "sort": str(order.column), "at": at, "id": job_id, "limit": limit + 1,
        }  # fmt: skip
        rows = self._transaction.all(way(name, order), **parameters, **page)
        matches = [row[_COUNTS:] for row in rows if row[_COUNTS + 1] is not None]
        shown = matches[:limit]
        return SearchedJobs(
            rows=[summary_from_row(tuple(row[1:])) for row in shown],
            end=Position(int(shown[-1][0]), shown[-1][1])
            if len(matches) > limit
            else None,
            counts=StatusCounts(*map(int, rows[0][:_COUNTS])),
            searched=searched,
        )

    def _source(
        self, *, is_bounded: bool
    ) -> tuple[str, Mapping[str, Parameter], int | None]:
        """Return the statement, its parameters, and how many jobs it reads."""
        conditions, reads_all = self._conditions, self._matching <= MAX_FEW
        if is_bounded and not reads_all and self._is_newest_enough:
            window = conditions.parameters() | {"skip": NEWEST}
            return "search_newest", window, NEWEST
        if not is_bounded and not reads_all and not self._are_few:
            return "search_newest", conditions.parameters() | {"skip": _ALL}, None
        # To write hundreds of combinations down takes a millisecond.
        parts = conditions.of_combinations() | {"rows": self._rows(OF_COMBINATION)}
        if reads_all or not is_bounded:
            return "search_few", parts, None
        each = max(MAX_OF_EACH // len(self._counts), 1)
        read = sum(min(jobs, each) for jobs in self._counts.values())
        return "search_each", parts | {"each": each}, read

    @property
    def _is_newest_enough(self) -> bool:
        """Whether the newest of all jobs have many that can match."""
        job_filter = self._job_filter
        if job_filter.queues is not None or self._conditions.has_range:
            return False
        stored = sum(int(jobs) for *_, jobs in self._all_counts)
        return self._matching * _SHARE >= stored
