"""JobReader: get, list and count jobs; writes nothing.

Counts come from the maintained table, so they cost the same at a thousand and at a
million jobs. A listing asks that table which combinations of queue, kind and status
exist, reads the newest ids of each from one index, and merges them; only a search in
payloads, a very deep page, or a filter that matches very many combinations walks the
jobs themselves.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from flask_forge_jobs.errors import JobNotFoundError
from flask_forge_jobs.model.instants import MAX_INSTANT_US, SECOND_US, to_micros
from flask_forge_jobs.model.jobs import Job, JobFilter, JobsPage, JobStatus
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.storage.database import (
    Database,
    Parameter,
    Row,
    Transaction,
    encode_names,
)
from flask_forge_jobs.storage.rows import job_from_row

# Above these a walk over the newest jobs is cheaper than a look-up each.
MAX_COMBINATIONS = 64
MAX_MERGED_ROWS = 5000
Combination = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """The numbers of one queue.

    ``oldest_due_age_s`` is how many whole seconds the oldest job that could run now has
    waited; 0 when none does.
    """

    counts: QueueCounts = field(default_factory=QueueCounts)
    oldest_due_age_s: int = 0


class JobReader:
    """Reads jobs.

    Args:
        database: The seam to the database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            JobNotFoundError: No job has this id.
        """
        rows = self._database.read(lambda tx: tx.all("get_job", id=job_id))
        if not rows:
            raise JobNotFoundError(job_id)
        return job_from_row(rows[0])

    def statistics(self) -> dict[str, QueueStatistics]:
        """Return counts and lag of every queue that has jobs, from one snapshot."""

        def work(transaction: Transaction) -> dict[str, QueueStatistics]:
            counts = _count(transaction.all("counts"), transaction.all("overdue"))
            ages_us = {row[0]: int(row[1]) for row in transaction.all("oldest_due")}
            return {
                name: QueueStatistics(each, ages_us.get(name, 0) // SECOND_US)
                for name, each in counts.items()
            }

        return self._database.read(work)

    def kinds(self, queue_name: str | None = None) -> list[str]:
        """Return the kinds of the stored jobs, sorted.

        Args:
            queue_name: Only of this queue; None means all.
        """
        rows = self._database.read(lambda transaction: transaction.all("counts"))
        return sorted(
            {
                kind
                for name, kind, _, _, _ in rows
                if queue_name is None or name == queue_name
            }
        )

    def scheduled(self, queue_name: str, limit: int) -> list[Job]:
        """Return a queue's pending jobs that start later, the earliest first.

        Args:
            queue_name: The queue.
            limit: At most this many.
        """

        def work(transaction: Transaction) -> list[Job]:
            rows = transaction.all("scheduled", queue_name=queue_name, limit=limit)
            return _load(transaction, [row[0] for row in rows])

        return self._database.read(work)

    def page(self, wanted: JobFilter, limit: int, offset: int = 0) -> JobsPage:
        """Return one page of the matching jobs, newest first, and their true number.

        Args:
            wanted: Which jobs.
            limit: Most rows of the page.
            offset: Rows to skip.

        Raises:
            StorageUnavailableError: A search took longer than the statement limit.
        """

        def work(transaction: Transaction) -> JobsPage:
            listing = _Listing(transaction, wanted)
            ids = listing.ids(limit, offset)
            return JobsPage(
                _load(transaction, ids), listing.total(), limit=limit, offset=offset
            )

        return self._database.read(work)


def _count(counts: Iterable[Row], overdue: Iterable[Row]) -> dict[str, QueueCounts]:
    """Fold the maintained rows; a job that waits for its time but is due is pending."""
    found: dict[str, QueueCounts] = {}
    for name, _, status, deferred, jobs in counts:
        is_scheduled = status == JobStatus.PENDING and deferred
        column = "scheduled" if is_scheduled else str(status)
        queue = found.get(name, QueueCounts())
        found[name] = replace(queue, **{column: getattr(queue, column) + int(jobs)})
    for name, status, jobs in overdue:
        if status == JobStatus.PENDING:
            queue = found[name]
            found[name] = replace(
                queue, pending=queue.pending + jobs, scheduled=queue.scheduled - jobs
            )
    return found


def _load(transaction: Transaction, ids: Sequence[str]) -> list[Job]:
    if not ids:
        return []
    rows = transaction.all("get_jobs", rows=encode_names("job_id", ids))
    jobs = {row[0]: job_from_row(row) for row in rows}
    return [jobs[job_id] for job_id in ids if job_id in jobs]


class _Listing:
    """One filter against one snapshot."""

    def __init__(self, transaction: Transaction, wanted: JobFilter) -> None:
        self._transaction = transaction
        self._wanted = wanted
        self._range: dict[str, Parameter] = {
            "from_at": _micros_or(wanted.enqueued_from, 0),
            "to_at": _micros_or(wanted.enqueued_to, MAX_INSTANT_US),
        }
        self._has_range = bool(wanted.enqueued_from or wanted.enqueued_to)
        self._counts = self._matching_counts()
        self._can_merge = (
            wanted.payload_search is None and len(self._counts) <= MAX_COMBINATIONS
        )

    def _matching_counts(self) -> dict[Combination, int]:
        wanted = self._wanted
        found: dict[Combination, int] = {}
        for name, kind, status, _, jobs in self._transaction.all("counts"):
            if (
                (not wanted.queues or name in wanted.queues)
                and (not wanted.kinds or kind in wanted.kinds)
                and (not wanted.statuses or status in wanted.statuses)
            ):
                key = (name, kind, status)
                found[key] = found.get(key, 0) + int(jobs)
        return found

    def ids(self, limit: int, offset: int) -> list[str]:
        if limit == 0 or not self._counts:
            return []
        depth = offset + limit
        if not self._can_merge or depth > MAX_MERGED_ROWS:
            rows = self._transaction.all(
                "page_by_scan", **self._scan(), limit=limit, offset=offset
            )
            return [job_id for _, job_id in rows]
        streams = [
            self._transaction.all(
                "page_of_combination", **self._combination(key), limit=depth
            )
            for key in self._counts
        ]
        merged = heapq.merge(*streams, reverse=True)
        return [job_id for _, job_id in islice(merged, offset, depth)]

    def total(self) -> int:
        if self._wanted.payload_search is None and not self._has_range:
            return sum(self._counts.values())
        if not self._can_merge:
            return int(self._transaction.all("count_by_scan", **self._scan())[0][0])
        return sum(
            self._transaction.all("count_of_combination", **self._combination(key))[0][
                0
            ]
            for key in self._counts
        )

    def _combination(self, key: Combination) -> dict[str, Parameter]:
        queue_name, kind, status = key
        return {"queue_name": queue_name, "kind": kind, "status": status} | self._range

    def _scan(self) -> dict[str, Parameter]:
        wanted = self._wanted
        filters: dict[str, Parameter] = {
            "any_queue": not wanted.queues,
            "queues": encode_names("name", wanted.queues),
            "any_kind": not wanted.kinds,
            "kinds": encode_names("name", wanted.kinds),
            "any_status": not wanted.statuses,
            "statuses": encode_names("name", wanted.statuses),
            "any_payload": wanted.payload_search is None,
            "pattern": _pattern(wanted.payload_search or ""),
        }
        return filters | self._range


def _micros_or(instant: datetime | None, default: int) -> int:
    return default if instant is None else to_micros(instant)


def _pattern(text: str) -> str:
    """Return a LIKE pattern that finds text literally in a stored payload.

    The stored text is ASCII, so other characters are written as it writes them.
    """
    literal = "".join(
        character if character.isascii() else json.dumps(character)[1:-1]
        for character in text
    ).lower()
    for special in ("\\", "%", "_"):
        literal = literal.replace(special, f"\\{special}")
    return f"%{literal}%"
