"""JobReader: get, list and count jobs; writes nothing.

Counts come from a maintained table, so they cost the same however many jobs there are.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Any

from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.model.attempts import Attempt
from flask_forge_jobs.model.jobs import Job, JobFilter, JobStatus
from flask_forge_jobs.model.ordering import (
    JobOrder,
    JobsPage,
    KeysetPage,
    Position,
    StatusCounts,
)
from flask_forge_jobs.model.queues import QueueCounts, QueueOverview
from flask_forge_jobs.model.steps import StepsOfJob
from flask_forge_jobs.model.ties import JobTies
from flask_forge_jobs.model.workers import Slot
from flask_forge_jobs.storage.columns import JOB
from flask_forge_jobs.storage.database import Query, Row, Transaction, encode_names
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.jobs.attempts import ATTEMPTS, attempts_of
from flask_forge_jobs.storage.jobs.conditions import Conditions
from flask_forge_jobs.storage.jobs.links import TIES, ties_of
from flask_forge_jobs.storage.jobs.listing import Listing, counts_of
from flask_forge_jobs.storage.jobs.status_counts import StatusListing
from flask_forge_jobs.storage.jobs.steps import STEPS, steps_of
from flask_forge_jobs.storage.jobs.streams import comes_with_total, reads_once
from flask_forge_jobs.storage.rows import (
    first_row,
    job_from_row,
    queue_from_row,
    slot_from_row,
    within_micros,
)

_STATUSES = frozenset(status.value for status in JobStatus)
_NEWEST_FIRST = JobOrder()


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """The numbers of one queue; without a due job, ``oldest_due_age_s`` is 0."""

    counts: QueueCounts = field(default_factory=QueueCounts)
    oldest_due_age_s: int = 0


_NO_JOBS = QueueStatistics()
WithAttempts = tuple[Job, tuple[Attempt, ...], StepsOfJob, JobTies]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All queues at one moment.

    ``overview`` lists the registered queues by name; ``statistics`` has the numbers of
    every queue with jobs, registered or not. ``cooling`` are the queues in a cool-down,
    by the clock of the database.
    """

    overview: Sequence[QueueOverview]
    statistics: Mapping[str, QueueStatistics]
    cooling: frozenset[str] = frozenset()


class JobReader:
    """Reads jobs."""

    def __init__(self, database: StoreExecutor) -> None:
        self._database = database
        # Callers that poll mostly find no change; they get the last objects again.
        self._last: tuple[Row, Snapshot] = (), Snapshot((), {})

    def get(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            JobNotFoundError: No job has this id.
        """
        rows = self._database.read_all("get_job", id=job_id)
        return job_from_row(first_row(rows, JobNotFoundError, job_id))

    def with_attempts(self, job_id: str) -> WithAttempts:
        """Return one job, its attempts, the oldest first, its steps and its ties.

        Raises:
            JobNotFoundError: No job has this id.
        """
        rows = self._database.read_all("get_job_with_attempts", id=job_id)
        return with_attempts(iter(first_row(rows, JobNotFoundError, job_id)))

    def ids_in(
        self, job_ids: Sequence[str], queue_names: Sequence[str] | None = None
    ) -> list[str]:
        """Return the ids whose job is in one of the queues (None: any), in no order."""
        ids = encode_names("job_id", job_ids)
        rows = self._database.read_all("queues_of_jobs", rows=ids)
        return [
            job_id
            for job_id, queue_name in rows
            if queue_names is None or queue_name in queue_names
        ]

    def has_work(self, worker_id: str, queue_names: Iterable[str]) -> bool:
        """Return whether a worker holds a job, or could claim one from its queues."""

        def work(transaction: Transaction) -> bool:
            return bool(transaction.all("held", worker_id=worker_id)) or any(
                transaction.all("has_due", queue_name=name) for name in queue_names
            )

        return self._database.read(work)

    def statistics(self) -> Mapping[str, QueueStatistics]:
        """Return counts and lag of every queue with jobs, from one snapshot."""
        return self.snapshot().statistics

    def snapshot(self, within_s: float | None = None) -> Snapshot:
        """Return every queue with its numbers and slots, from one snapshot.

        Returns the same object again while nothing has changed.

        Args:
            within_s: Oldest heartbeat of a slot to include, in seconds; None includes
                silent slots.
        """
        name, values = overview_query(within_s)
        (texts,) = self._database.read_one(name, **values)
        last_texts, last = self._last
        if texts == last_texts:
            return last
        current = _snapshot(*(json.loads(text or "[]") for text in texts))
        self._last = texts, current
        return current

    def kinds(
        self,
        queue_name: str | None = None,
        statuses: Collection[str] = tuple(JobStatus),
    ) -> list[str]:
        """Return the kinds of the stored jobs, sorted; None means of all queues.

        ``statuses`` are of jobs of one queue.
        """
        if queue_name is None:
            rows = self._database.read_all("stored_kinds")
            return sorted(kind for (kind,) in rows)
        counts = self._counts_of(queue_name)
        return sorted({kind for _, kind, status, _, _ in counts if status in statuses})

    def named_kinds(self, queue_names: Collection[str] | None = None) -> set[str]:
        """Return the kinds of the jobs in some queues; None means all, and schedules'.

        A schedule may have no queue, so those of some queues are not told apart.
        """
        if queue_names is not None:
            return {kind for _, kind, _, _, _ in self._counts_of(*queue_names)}
        rows = self._database.read_all("named_kinds")
        return {kind for (kind,) in rows}

    def _counts_of(self, *queue_names: str) -> Sequence[Row]:
        return self._database.read(lambda tx: counts_of(tx, queue_names), apart=True)

    def total(self, job_filter: JobFilter) -> int:
        """Return the exact number of matching jobs.

        Raises:
            StorageUnavailableError: A search took longer than the statement limit.
        """
        return self._database.read(
            lambda transaction: Listing(transaction, job_filter).total(),
            apart=Conditions(job_filter).total_query is not None,
        )

    def counts(
        self, job_filter: JobFilter, max_jobs: int | None = None
    ) -> StatusCounts:
        """Return the number of matching jobs in each state.

        It is exact. With ``max_jobs``, counting stops behind so many jobs, unless
        maintained counts know the number.

        Raises:
            StorageUnavailableError: A search took longer than the statement limit.
        """
        conditions = Conditions(job_filter)
        return self._database.read(
            lambda transaction: StatusListing(transaction, job_filter).counts(max_jobs),
            apart=conditions.are_maintained or conditions.own_index is not None,
        )

    def page(
        self,
        job_filter: JobFilter,
        limit: int,
        offset: int = 0,
        order: JobOrder = _NEWEST_FIRST,
    ) -> JobsPage:
        """Return one page of the matching jobs and their exact total.

        The order must not be by ``completed_at``.

        Raises:
            StorageUnavailableError: A search took longer than the statement limit.
        """
        ahead = _total_ahead(job_filter, order, offset + limit)

        def work(transaction: Transaction) -> JobsPage:
            listing = Listing(transaction, job_filter)
            if ahead is not None:
                transaction.expect(ahead[0], **ahead[1])
            places = listing.page(order, limit, offset=offset)
            rows = listing.summaries(places)
            return JobsPage(rows, listing.total(), limit=limit, offset=offset)

        is_one_read = comes_with_total(Conditions(job_filter), order, offset + limit)
        return self._database.read(work, apart="expected" if ahead else is_one_read)

    def find(
        self,
        job_filter: JobFilter,
        order: JobOrder,
        limit: int,
        after: Position | None = None,
        *,
        with_total: bool = True,
    ) -> KeysetPage:
        """Return the matching jobs that follow a place in an order.

        Paging visits a job that keeps matching exactly once, whatever is stored, run or
        deleted meanwhile. By ``enqueued_at``, it may even change its state.

        Args:
            job_filter: Which jobs.
            order: How they are sorted.
            limit: Most rows, at least 1.
            after: End of the page before; None starts at the first job.
            with_total: Whether to count all matching jobs.

        Raises:
            StorageUnavailableError: It took longer than the statement limit.
        """
        ahead = _total_ahead(job_filter, order, limit + 1) if with_total else None

        def work(transaction: Transaction) -> KeysetPage:
            listing = Listing(transaction, job_filter)
            if ahead is not None:
                transaction.expect(ahead[0], **ahead[1])
            # One more shows whether there is a next page.
            places = listing.page(order, limit + 1, after)
            shown = places[:limit]
            return KeysetPage(
                rows=listing.summaries(shown),
                end=shown[-1] if len(places) > limit else None,
                total=listing.total() if with_total else None,
            )

        # Others read several parts of an index, and between them a job may move from
        # one to another.
        is_one_read = (
            comes_with_total(Conditions(job_filter), order, limit + 1)
            if with_total
            else reads_once(job_filter, order, limit + 1)
        )
        return self._database.read(work, apart="expected" if ahead else is_one_read)


def overview_query(within_s: float | None = None) -> Query:
    """Return what :meth:`JobReader.snapshot` reads."""
    return "snapshot", {"within_us": within_micros(within_s)}


def _total_ahead(job_filter: JobFilter, order: JobOrder, depth: int) -> Query | None:
    """Return the query of the total, if it and one more are all that is read."""
    conditions = Conditions(job_filter)
    if comes_with_total(conditions, order, depth):
        return None
    is_one_read = depth > 0 and reads_once(job_filter, order, depth)
    return conditions.total_query if is_one_read else None


def _snapshot(
    queues: Sequence[Row],
    counts: Sequence[Row],
    waiting: Sequence[Row],
    slot_rows: Sequence[Row],
    cooling: Sequence[str],
) -> Snapshot:
    statistics = _statistics(counts, waiting)
    slots: defaultdict[str, list[Slot]] = defaultdict(list)
    for slot in map(slot_from_row, slot_rows):
        slots[slot.queue_name].append(slot)
    overview = []
    for settings in map(queue_from_row, queues):
        numbers = statistics.get(settings.name, _NO_JOBS)
        overview.append(
            QueueOverview(
                settings=settings,
                counts=numbers.counts,
                slots=tuple(slots[settings.name]),
                oldest_due_age_s=numbers.oldest_due_age_s,
            )
        )
    return Snapshot(tuple(overview), MappingProxyType(statistics), frozenset(cooling))


def _statistics(
    counts: Iterable[Row], waiting: Sequence[Row]
) -> dict[str, QueueStatistics]:
    longest_s: dict[str, int] = {}
    for name, _, waited_s in waiting:
        longest_s[name] = max(longest_s.get(name, 0), waited_s)
    return {
        name: QueueStatistics(each, longest_s.get(name, 0))
        for name, each in _count(counts, waiting).items()
    }


def _count(counts: Iterable[Row], waiting: Iterable[Row]) -> dict[str, QueueCounts]:
    """Add up the maintained rows; a due job that is still deferred counts as pending.

    States that only a newer package knows are left out, so that one such job does not
    break the whole overview.
    """
    columns_of: dict[str, dict[str, int]] = {}
    for name, status, deferred, jobs in counts:
        if status not in _STATUSES:
            continue
        is_scheduled = status == JobStatus.PENDING and deferred
        column = "scheduled" if is_scheduled else str(status)
        queue = columns_of.setdefault(name, {})
        queue[column] = queue.get(column, 0) + int(jobs)
    for name, overdue, _ in waiting:
        if overdue:
            queue = columns_of[name]
            queue["pending"] = queue.get("pending", 0) + overdue
            queue["scheduled"] -= overdue
    return {name: QueueCounts(**columns) for name, columns in columns_of.items()}


def with_attempts(values: Iterator[Any]) -> WithAttempts:
    """Return a job, its attempts, its steps and its ties from the start of a row."""
    job = job_from_row(tuple(islice(values, len(JOB))))
    attempts = attempts_of(job, tuple(islice(values, ATTEMPTS)))
    steps = steps_of(tuple(islice(values, STEPS)))
    return job, attempts, steps, ties_of(tuple(islice(values, TIES)))
