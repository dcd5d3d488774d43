"""Listing: one page of jobs in any order, and the total number of matching jobs.

The maintained counts say which combinations of queue, kind and status exist. By age,
one statement finds those that hold the first jobs, and their first ids are read from
one index and merged; other indexes do the same for the end, the due time, the dedupe
key and the schedule. Orders without an index, which would cost every job three more
entries, are sorted: the jobs of the combinations if these are few, otherwise all.

The total is the sum of the counts. Within a range of ages jobs are counted, or those
outside it if these are fewer; with any other condition, those that match.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice

from flask_forge_jobs.model.jobs import (
    FINAL,
    UNFINISHED,
    JobFilter,
    JobStatus,
    JobSummary,
)
from flask_forge_jobs.model.ordering import JobOrder, Position, SortColumn
from flask_forge_jobs.storage.database import (
    Parameter,
    Row,
    Transaction,
    encode_names,
    encode_rows,
)
from flask_forge_jobs.storage.jobs.conditions import Conditions
from flask_forge_jobs.storage.jobs.streams import (
    COMBINATION,
    NEAR,
    OF_COMBINATION,
    Combination,
    JobStreams,
    Place,
    Stretch,
    seek,
    way,
    whole_page,
)

# With more, walking the jobs is cheaper than a statement for each.
MAX_COMBINATIONS = 64
# With more, walking the jobs is cheaper than a look-up per queue and state.
MAX_SOURCES = 256
# With more, walking the jobs is cheaper than merging in Python.
MAX_MERGED_ROWS = 5000
# Up to this many, sorting beats an index that does not cover the conditions.
MAX_SORTED_ROWS = 20_000
# Finding a job by index costs as much as walking over this many.
WALKED_PER_LOOK_UP = 5
# Most index entries to count on one side of a time range before trying the other.
MAX_COUNTED_ROWS = 5_000
# Beyond every sort key: 32-bit numbers and microseconds.
_BEYOND = 2**62
Streams = list[Iterator[Place]] | None
# For an index without queue, kind and status.
_NO_KEY: tuple[Combination, ...] = (("", "", ""),)


def counts_of(transaction: Transaction, queues: Sequence[str] | None) -> Sequence[Row]:
    """Return queue, kind, status, whether deferred, and number of the stored jobs.

    None means all queues.
    """
    if queues is None:
        return transaction.all("counts")
    return transaction.all("counts_within", queues=encode_names("name", queues))


class Listing:
    """One filter in one snapshot.

    ``counts`` is the result of :func:`counts_of` for the filter's queues; None reads
    them.
    """

    def __init__(
        self,
        transaction: Transaction,
        job_filter: JobFilter,
        counts: Iterable[Row] | None = None,
    ) -> None:
        self._transaction = transaction
        self._job_filter = job_filter
        self._conditions = Conditions(job_filter)
        self._streams_of = JobStreams(transaction, self._conditions)
        self._given_counts = counts
        self._total: int | None = None

    @cached_property
    def _all_counts(self) -> list[Row]:
        """Every count of the queues; with many kinds, this is the largest cost."""
        if self._given_counts is not None:
            return list(self._given_counts)
        conditions, queues = self._conditions, self._job_filter.queues
        if queues is not None and not (
            conditions.is_plain or conditions.scheduled_only
        ):
            self._transaction.expect("stored_jobs")
        return list(counts_of(self._transaction, queues))

    @cached_property
    def _counts(self) -> dict[Combination, int]:
        """The number of jobs in each combination that can match."""
        counts: dict[Combination, int] = {}
        covers, statuses = self._job_filter.covers, self._conditions.statuses
        any_start = not self._conditions.scheduled_only
        for name, kind, status, deferred, jobs in self._all_counts:
            if status in statuses and (any_start or deferred) and covers(name, kind):
                key = (name, kind, status)
                counts[key] = counts.get(key, 0) + int(jobs)
        return counts

    @property
    def _matching(self) -> int:
        """Number of jobs in the matching combinations."""
        return sum(self._counts.values())

    @property
    def _are_few(self) -> bool:
        if self._job_filter.queues is None:
            stored = sum(int(row[-1]) for row in self._all_counts)
        else:
            stored = int(self._transaction.all("stored_jobs")[0][0])
        return self._matching * WALKED_PER_LOOK_UP <= stored

    # -- pages ---------------------------------------------------------------------

    def page(
        self,
        order: JobOrder,
        limit: int,
        after: Position | None = None,
        offset: int = 0,
    ) -> list[Position]:
        """Return the places of the jobs of one page.

        Starts behind ``after``. ``offset`` does not work by ``completed_at``.
        """
        if order.column is SortColumn.COMPLETED_AT:
            return self._by_completion(order, limit, after)
        places = self._places(order, limit, after, offset)
        return [Position(key, job_id) for key, job_id in places]

    def summaries(self, places: Sequence[Position]) -> list[JobSummary]:
        """Return what is shown of the jobs of a page, unless they are gone."""
        return self._streams_of.summaries([place.id for place in places])

    def _by_completion(
        self, order: JobOrder, limit: int, after: Position | None
    ) -> list[Position]:
        """Return finished jobs by their end, then unfinished ones by age."""
        places: list[Position] = []
        finished, unfinished = self._only(FINAL), self._only(UNFINISHED)
        if finished is not None and not (after and after.is_unfinished):
            places_of = finished._places(order, limit, after)  # noqa: SLF001  # its own class
            places = [Position(key, job_id) for key, job_id in places_of]
            after = None
        left = limit - len(places)
        if unfinished is not None and left:
            by_age = replace(order, column=SortColumn.ENQUEUED_AT)
            after = after if after and after.is_unfinished else None
            places_of = unfinished._places(by_age, left, after)  # noqa: SLF001
            places += [
                Position(key, job_id, is_unfinished=True) for key, job_id in places_of
            ]
        return places

    def _only(self, statuses: Sequence[JobStatus]) -> Listing | None:
        """Return this listing for some states only; None when it has none."""
        job_filter = self._job_filter
        stated = job_filter.statuses or (
            () if job_filter.scheduled else tuple(JobStatus)
        )
        kept = tuple(status for status in stated if status in statuses)
        scheduled = job_filter.scheduled and JobStatus.PENDING in statuses
        if not kept and not scheduled:
            return None
        if (kept, scheduled) == (tuple(job_filter.statuses), job_filter.scheduled):
            return self
        narrowed = replace(job_filter, statuses=kept, scheduled=scheduled)
        return Listing(self._transaction, narrowed, self._all_counts)

    def _places(
        self, order: JobOrder, limit: int, after: Position | None, offset: int = 0
    ) -> list[Place]:
        if limit == 0:
            return []
        start = self._start(order, after)
        if offset > NEAR and order == JobOrder() and self._conditions.is_plain:
            if offset >= self.total():
                return []
            start, offset = self._nearer(offset)
        depth = offset + limit
        streams = self._streams(Stretch(order, start, depth))
        if streams is None:
            return self._sorted(order, start, limit, offset)
        merged = heapq.merge(*streams, reverse=order.descending)
        return list(islice(merged, offset, depth))

    def _nearer(self, offset: int) -> tuple[Place, int]:
        """Return a place close to an offset, and how many jobs are left to skip."""
        newest = self._first(JobOrder())
        oldest = self._first(JobOrder(descending=False))

        def count(from_at: int, to_at: int) -> int:
            rows = self._transaction.all(
                "count_newer",
                rows=self._rows(COMBINATION),
                from_at=from_at,
                to_at=to_at,
            )
            return sum(int(row[0]) for row in rows)

        instant, newer = seek(
            count, newest=newest, oldest=oldest, total=self.total(), offset=offset
        )
        return (instant + 1, ""), offset - newer

    def _first(self, order: JobOrder) -> int:
        """Return the instant of the first job by age; there must be a job."""
        stretch = Stretch(order, self._start(order, None), 1)
        return int(self._streams_of.leading(stretch)[0][3])

    def _start(self, order: JobOrder, after: Position | None) -> Place:
        if after is not None:
            return after.key, after.id
        if order.column is SortColumn.ENQUEUED_AT:
            first, last = self._conditions.from_at, self._conditions.to_at
            return last + 1 if order.descending else first, ""  # before every id
        return (_BEYOND if order.descending else -_BEYOND), ""

    def _streams(self, stretch: Stretch) -> Streams:
        """Return the streams to merge, or None if sorting is cheaper."""
        order = stretch.order
        if order.column is SortColumn.ENQUEUED_AT:
            if stretch.depth > MAX_MERGED_ROWS:
                return None
            return self._streams_by_age(stretch)
        name = whole_page(self._conditions, stretch)
        if name is not None and not self._conditions.are_selective:
            return self._streams_of.at_once(name, stretch)
        if not self._counts:
            return []
        if self._conditions.are_selective and self._matching <= MAX_SORTED_ROWS:
            return None
        if order.column is SortColumn.COMPLETED_AT:
            return self._streams_by_end(stretch)
        return None if name is None else self._streams_of.at_once(name, stretch)

    def _streams_by_age(self, stretch: Stretch) -> Streams:
        own, streams = self._conditions.own_index, self._streams_of
        if own is not None:
            return streams.one_by_one(own.page, _NO_KEY, stretch)
        if self._conditions.is_plain:
            return streams.by_age(stretch)
        keys = list(self._counts)
        if len(keys) > MAX_COMBINATIONS:
            return None
        return streams.one_by_one("listed", keys, stretch)

    def _streams_by_end(self, stretch: Stretch) -> Streams:
        pairs = sorted({(queue, status) for queue, _, status in self._counts})
        if len(pairs) > MAX_SOURCES:
            return None
        keys = [(queue, "", status) for queue, status in pairs]
        if self._conditions.are_selective:
            name, read = "listed_finished", self._streams_of.one_by_one
        else:
            name, read = "finished_together", self._streams_of.together
        return read(name, keys, stretch)

    def _sorted(
        self, order: JobOrder, start: Place, limit: int, offset: int
    ) -> list[Place]:
        parameters: dict[str, Parameter] = {
            "sort": str(order.column),
            "at": start[0],
            "id": start[1],
            "limit": limit,
            "offset": offset,
        }
        is_by_start = order.column is SortColumn.SCHEDULED_AT
        if is_by_start and self._conditions.scheduled_only:  # its index has the order
            queues = sorted({queue for queue, _, _ in self._counts})
            known = self._conditions.parameters()
            name = "listed_deferred" if len(queues) == 1 else "deferred_sorted"
            parameters["queue_name"] = queues[0]
            parameters["rows"] = encode_rows({"of_queue": each} for each in queues)
        elif self._are_few:
            name, known = "listed_few", self._conditions.of_combinations()
            parameters["rows"] = self._rows(OF_COMBINATION)
        else:
            name, known = "listed_all", self._conditions.parameters()
        rows = self._transaction.all(way(name, order), **(known | parameters))
        return self._streams_of.kept(rows)

    def _rows(self, columns: tuple[str, str, str]) -> str:
        return encode_rows(dict(zip(columns, key, strict=True)) for key in self._counts)

    # -- totals --------------------------------------------------------------------

    def total(self) -> int:
        """Return the exact number of matching jobs."""
        if self._total is None:
            self._total = self._streams_of.total
        if self._total is None:
            self._total = self._counted_total()
        return self._total

    def _counted_total(self) -> int:
        conditions = self._conditions
        query = conditions.total_query
        if query is not None:
            return self._counted(*query)
        if not self._counts:
            return 0
        if conditions.is_plain:
            # Inside the range or outside it, whichever are fewer.
            return sum(self._counts_in_range().values())
        parameters = conditions.parameters()
        if self._are_few:
            parameters = conditions.of_combinations()
            parameters["rows"] = self._rows(OF_COMBINATION)
            return self._counted("count_few", parameters)
        return self._counted("count_all", parameters)

    def _counted(self, name: str, parameters: Mapping[str, Parameter]) -> int:
        return int(self._transaction.all(name, **parameters)[0][0])

    def _counts_in_range(self) -> dict[str, int]:
        max_rows = max(MAX_COUNTED_ROWS // len(self._counts), 20)
        inside = self._count("count_inside", max_rows)
        if inside is not None:
            return inside
        outside = self._count("count_outside", max_rows)
        if outside is None:
            return self._count("count_inside", self._matching + 1) or {}
        counts: dict[str, int] = {}
        for (_, _, status), jobs in self._counts.items():
            counts[status] = counts.get(status, 0) + jobs
        return {
            status: jobs - outside.get(status, 0) for status, jobs in counts.items()
        }

    def _count(self, name: str, max_rows: int) -> dict[str, int] | None:
        """Count by status; None if a combination has ``max_rows`` rows or more."""
        rows = self._transaction.all(
            name,
            rows=self._rows(COMBINATION),
            max_rows=max_rows,
            from_at=self._conditions.from_at,
            to_at=self._conditions.to_at,
        )
        counts: dict[str, int] = {}
        for status, *parts in rows:
            if any(int(part) >= max_rows for part in parts):
                return None
            counts[status] = counts.get(status, 0) + sum(map(int, parts))
        return counts
