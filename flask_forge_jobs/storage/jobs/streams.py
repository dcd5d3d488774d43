"""Streams of jobs, each read in order from one index, for a merge.

A stream is read in chunks, only as far as the merge asks. Where that is possible, one
statement reads the first chunks of all streams, which saves a round trip for each; and
a page of usual length is merged by the database, in one statement.

For a deep page, :func:`seek` turns the offset into an instant: it guesses one, counts
the newer index entries, and narrows the guess until few jobs are left to skip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from flask_forge_jobs.model.jobs import FINAL, JobFilter, JobSummary
from flask_forge_jobs.model.ordering import JobOrder, SortColumn
from flask_forge_jobs.storage.database import Parameter, Row, Transaction, encode_rows
from flask_forge_jobs.storage.jobs.conditions import Conditions
from flask_forge_jobs.storage.rows import (
    load_summaries,
    place_from_row,
    summary_from_row,
)

# This many jobs may be left to skip one by one.
NEAR = 500
_GUESSES = 5
# Bisecting thirty years of microseconds takes fifty steps.
_MAX_STEPS = 60
# A guess falls a little short: jobs counted up to it are never counted again.
_AIM_PERCENT = 98


def seek(
    count: Callable[[int, int], int],
    *,
    newest: int,
    oldest: int,
    total: int,
    offset: int,
) -> tuple[int, int]:
    """Return an instant near an offset, and how many jobs are newer than it.

    Never passes the offset, which counts from the newest of ``total`` jobs, and never
    splits the jobs of one instant. ``count`` returns how many jobs are newer than its
    first argument and not newer than its second.
    """
    upper, above = newest, 0
    lower, below = oldest - 1, total
    for step in range(_MAX_STEPS):
        left = offset - above
        if left <= NEAR or upper - lower <= 1:
            break
        guess = (upper + lower) // 2
        if step < _GUESSES:
            # Assumes that the jobs in between are spread evenly.
            share = (upper - lower) * left * _AIM_PERCENT // 100
            guess = upper - share // max(below - above, 1)
        guess = min(max(guess, lower + 1), upper - 1)
        newer = above + count(guess, upper)
        if newer <= offset:
            upper, above = guess, newer
        else:
            lower, below = guess, newer
    return upper, above


# This many combinations of queue, kind and status are looked at first.
NEWEST_COMBINATIONS = 256
# More of them than there can be.
_ALL = 10**9
_FIRST_CHUNK = 4
# Chunks of so many jobs in all are read without regard to their share.
_WORTHWHILE = 400
# Up to this depth, one statement reads a page with all that is shown of its jobs.
MAX_AT_ONCE = 320
# The same by start time: with 20,000 jobs in 20 queues half the time of sorting on
# PostgreSQL, and a fifth more on SQLite, where 1,000 jobs would take twice as long.
MAX_BY_START = 500
# How many jobs of each source it looks at first.
_CHUNK = 8
# Or, by age, how many combinations: a page of the newest jobs mostly has no others.
_FEW = 8
_LARGEST_CHUNK = 1000
# Beyond every instant.
_BEYOND = 2**62
_PLACE = ("key", "id")
COMBINATION = ("queue_name", "kind", "status")
OF_COMBINATION = ("of_queue", "of_kind", "of_status")
Combination = tuple[str, str, str]
Place = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the listing: in an order, behind a place, so many jobs."""

    order: JobOrder
    start: Place
    depth: int


class JobStreams:
    """Opens streams of the jobs that match some conditions."""

    def __init__(self, transaction: Transaction, conditions: Conditions) -> None:
        self._transaction = transaction
        self._conditions = conditions
        # Of the jobs that were read with their summaries, by id.
        self._rows: dict[str, Row] = {}
        self.total: int | None = None
        """The number of all matching jobs, if that came with a page."""

    def summaries(self, ids: Sequence[str]) -> list[JobSummary]:
        """Return the summaries of jobs of the streams, unless they are gone."""
        if self._rows.keys() >= set(ids):
            return [summary_from_row(self._rows[job_id]) for job_id in ids]
        return load_summaries(self._transaction, ids)

    def by_age(self, stretch: Stretch) -> list[Iterator[Place]]:
        """Return streams by age that hold the jobs of a stretch.

        No conditions but queue, kind, status and age apply. The newest combinations
        mostly hold the newest jobs; then the others are not looked at.
        """
        if stretch.depth <= MAX_AT_ONCE:
            return [iter(self._newest(stretch))]
        rows = self.leading(stretch)
        keys = [(queue, kind, status) for queue, kind, status, _ in rows]
        return self.together("listed_together", keys, stretch)

    def _newest(self, stretch: Stretch) -> Sequence[Place]:
        """Return the places of a stretch by age."""
        order, bounds = stretch.order, self.bounds(stretch.order, stretch.start)
        # Nothing tells how old the oldest job of a combination is.
        bounds |= {"few": _FEW, "any_age": not order.descending}

        def read(max_combinations: int) -> tuple[int | None, list[Place]]:
            bounds["max_combinations"] = max_combinations
            rows = self._at_once("page_by_age", stretch, bounds)
            total, unread_at = rows[0][:2]
            if comes_with_total(self._conditions, stretch.order, stretch.depth):
                self.total = int(total or 0)
            return unread_at, self.kept([row[2:] for row in rows if row[3]])

        if order.descending:
            unread_at, places = read(NEWEST_COMBINATIONS)
            is_whole = len(places) == stretch.depth
            if unread_at is None or (is_whole and places[-1][0] > unread_at):
                return places
        return read(_ALL)[1]

    def at_once(self, name: str, stretch: Stretch) -> list[Iterator[Place]]:
        """Return a stream of the jobs of a stretch, from one statement.

        Only the conditions of its sources apply.
        """
        edge = -_BEYOND if stretch.order.descending else _BEYOND
        start: dict[str, Parameter] = {
            "at": stretch.start[0], "id": stretch.start[1], "edge": edge,
        }  # fmt: skip
        return [iter(self.kept(self._at_once(name, stretch, start)))]

    def _at_once(
        self, name: str, stretch: Stretch, bounds: Mapping[str, Parameter]
    ) -> list[Row]:
        return self._transaction.all(
            way(name, stretch.order),
            limit=stretch.depth,
            chunk=_CHUNK,
            **(self._conditions.of_counts() | self._conditions.of_together()),
            **bounds,
        )

    def kept(self, rows: Sequence[Row]) -> list[Place]:
        """Return the places of jobs: key and id, perhaps with the rest of a summary."""
        self._rows.update((row[1], row[1:]) for row in rows if len(row) > len(_PLACE))
        return [place_from_row(row[0], row[1]) for row in rows]

    def leading(self, stretch: Stretch) -> list[Row]:
        """Return what the statement ``leading`` returns, at most a row for each job."""
        return self._transaction.all(
            way("leading", stretch.order),
            limit=stretch.depth,
            max_combinations=_ALL,
            **self._conditions.of_counts(),
            **self.bounds(stretch.order, stretch.start),
        )

    def together(
        self, name: str, keys: Sequence[Combination], stretch: Stretch
    ) -> list[Iterator[Place]]:
        """Return a stream for each key; one statement reads their first chunks."""
        size = _chunk_size(stretch.depth, len(keys))
        read = partial(self._read_together, name, stretch.order)
        chunks = read(keys, stretch.start, size)

        def read_one(key: Combination, start: Place, size: int) -> Sequence[Place]:
            return read([key], start, size).get(key, ())

        return [
            _chained(chunks.get(key, ()), size, partial(read_one, key)) for key in keys
        ]

    def _read_together(
        self,
        name: str,
        order: JobOrder,
        keys: Sequence[Combination],
        start: Place,
        size: int,
    ) -> dict[Combination, list[Place]]:
        """Return the first places behind a start, in order, of each key with some."""
        rows = self._transaction.all(
            way(name, order),
            rows=encode_rows(dict(zip(OF_COMBINATION, k, strict=True)) for k in keys),
            limit=size,
            at=start[0],
            id=start[1],
            edge=self._edge(order, name),
            **self._conditions.of_together(),
        )
        chunks: dict[Combination, list[Place]] = {}
        for queue, kind, status, *place in rows:
            places = chunks.setdefault((queue, kind, status), [])
            places.append(place_from_row(*place))
        for places in chunks.values():
            places.sort(reverse=order.descending)
        return chunks

    def _edge(self, order: JobOrder, name: str) -> int:
        """Return the last value of an order; that of the age may be the filter's."""
        if name == "listed_together":
            conditions = self._conditions
            return conditions.from_at if order.descending else conditions.to_at
        return -_BEYOND if order.descending else _BEYOND

    def one_by_one(
        self, name: str, keys: Sequence[Combination], stretch: Stretch
    ) -> list[Iterator[Place]]:
        """Return a stream for each key, of the jobs that match every condition."""
        order, start = stretch.order, stretch.start
        size = _chunk_size(stretch.depth, len(keys))
        conditions = self._conditions.parameters()
        if name == "listed":
            conditions = self._conditions.of_combinations()

        def read(key: Combination, start: Place, size: int) -> list[Place]:
            source = dict(zip(COMBINATION, key, strict=True))
            rows = self._transaction.all(
                way(name, order),
                **(conditions | source | self.bounds(order, start)),
                limit=size,
                offset=0,
            )
            return self.kept(rows)

        return [
            _chained(read(key, start, size), size, partial(read, key)) for key in keys
        ]

    def bounds(self, order: JobOrder, start: Place) -> dict[str, Parameter]:
        """Return the parameters that bound a page."""
        conditions = self._conditions
        edge = conditions.from_at if order.descending else conditions.to_at
        return {"at": start[0], "id": start[1], "edge": edge}


def way(name: str, order: JobOrder) -> str:
    """Return the name of a statement for one direction."""
    return f"{name}_desc" if order.descending else f"{name}_asc"


def whole_page(conditions: Conditions, stretch: Stretch) -> str | None:
    """Return the statement that reads a stretch by end or time; None without one.

    By the end, the filter must have states of finished jobs only.
    """
    is_by_start = stretch.order.column is SortColumn.SCHEDULED_AT
    if stretch.depth > (MAX_BY_START if is_by_start else MAX_AT_ONCE):
        return None
    if stretch.order.column is SortColumn.COMPLETED_AT:
        return "page_by_end"
    if is_by_start:
        if conditions.scheduled_only:
            return "page_deferred"
        if conditions.failed_only:
            return "page_retrying"
    return None


def comes_with_total(conditions: Conditions, order: JobOrder, depth: int) -> bool:
    """Return whether the statement of a page also counts all matching jobs."""
    return (
        order.column is SortColumn.ENQUEUED_AT
        and conditions.is_plain
        and not conditions.has_range
        and 0 < depth <= MAX_AT_ONCE
    )


def reads_once(job_filter: JobFilter, order: JobOrder, depth: int) -> bool:
    """Return whether one statement reads the first so many jobs of a filter."""
    conditions = Conditions(job_filter)
    if order.column is SortColumn.ENQUEUED_AT:
        is_short = depth <= MAX_AT_ONCE and conditions.is_plain
        return is_short or conditions.own_index is not None
    name = whole_page(conditions, Stretch(order, (0, ""), depth))
    return (
        name is not None
        and not conditions.are_selective
        and (
            order.column is not SortColumn.COMPLETED_AT
            or conditions.statuses <= frozenset(map(str, FINAL))
        )
    )


def _chunk_size(depth: int, streams: int) -> int:
    """Return how many jobs of a stream to read first: a bit more than its share."""
    share = depth // max(streams, 1)
    size = max(share + share // 2 + _FIRST_CHUNK, _WORTHWHILE // max(streams, 1))
    return min(size, depth, _LARGEST_CHUNK)


def _chained(
    chunk: Sequence[Place], size: int, read: Callable[[Place, int], Sequence[Place]]
) -> Iterator[Place]:
    """Yield the places of a chunk, then of those that ``read(place, size)`` returns.

    A chunk of fewer than ``size`` places is the last one.
    """
    while True:
        yield from chunk
        if len(chunk) < size:
            return
        size = min(2 * size, _LARGEST_CHUNK)
        chunk = read(chunk[-1], size)
