"""Batches: make, list and read them, add jobs, seal, cancel, retry and delete them.

A caller that is limited to some queues knows a batch only if all jobs that it has ever
had are of these queues, those at its events included. For others it does not exist.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from flask_forge_jobs.errors import BatchNotFoundError, ConflictError, InvalidInputError
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.handlers.cursors import (
    Page,
    from_place_cursor,
    from_text_cursor,
    page_of,
    to_place_cursor,
    to_text_cursor,
)
from flask_forge_jobs.handlers.jobs import (
    MAX_JOB_ID_LENGTH,
    MAX_PAGE_SIZE,
    masked_row,
    payload_value,
)
from flask_forge_jobs.handlers.redaction import UNMASKED, Redactor
from flask_forge_jobs.model.batches import Batch, Completion
from flask_forge_jobs.model.bounds import check_integer, check_job_id
from flask_forge_jobs.model.instants import to_micros
from flask_forge_jobs.model.jobs import JobStatus, JobSummary
from flask_forge_jobs.storage.base import Storage

DEFAULT_PAGE_SIZE = 50
# Only a request must not take too long.
NO_HASTE = BulkLimits(max_s=math.inf)


class AtEvent(NamedTuple):
    """The job of an event of a batch; ``job_id`` is None until the event has come."""

    kind: str
    queue_name: str
    job_id: str | None


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """A batch as it is shown; secrets are masked."""

    batch: Batch
    name: str
    # A JSON value; None in a list.
    data: object
    # Whether a secret is masked that is stored as it is.
    redacted: bool
    # The batch that counts it; None also for a caller that is limited to some queues.
    within: str | None

    @property
    def progress(self) -> float:
        """The part of its jobs that has ended, 0 to 1; 1 without jobs."""
        batch = self.batch
        ended = batch.total - batch.unfinished
        return round(ended / batch.total, 4) if batch.total else 1.0

    @property
    def on_success(self) -> AtEvent | None:
        """The job for its end without a dead job."""
        return _at_event(self.batch.on_success, self.batch.succeeded_at)

    @property
    def on_finished(self) -> AtEvent | None:
        """The job for its first end."""
        return _at_event(self.batch.on_finished, self.batch.finished_at)

    @property
    def on_dead(self) -> AtEvent | None:
        """The job for its first dead job."""
        return _at_event(self.batch.on_dead, self.batch.died_at)


def _at_event(completion: Completion | None, at: datetime | None) -> AtEvent | None:
    if completion is None:
        return None
    job_id, follow_up = completion
    return AtEvent(follow_up.kind, follow_up.queue_name, None if at is None else job_id)


@dataclass(frozen=True, slots=True)
class BatchRetried:
    """A batch after a retry of its dead jobs, and how many there were.

    A retry that is not complete has left some of them.
    """

    batch: BatchRecord
    changed: int
    is_complete: bool


# -- reading ---------------------------------------------------------------------------


def list_batches(
    storage: Storage,
    *,
    is_open: bool = False,
    limit: int = DEFAULT_PAGE_SIZE,
    cursor: str | None = None,
    redactor: Redactor,
    queues: Collection[str] | None = None,
) -> Page[BatchRecord]:
    """Return one page of batches without their data, the newest first.

    Args:
        storage: The stores.
        is_open: Only batches that have not ended.
        limit: 1 to 1,000.
        cursor: ``next_cursor`` of the page before.
        redactor: Masks their names.
        queues: All that the caller may know; None means every queue.
    """
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    binding = ["batches", is_open]
    before = from_place_cursor(cursor, binding)
    batches = storage.batches.page(
        limit + 1, before=before, is_open=is_open, queues=queues
    )

    def cursor_of(last: Batch) -> str:
        return to_place_cursor((to_micros(last.created_at), last.id), binding)

    page = page_of(batches, limit, cursor_of)
    is_limited = queues is not None
    rows = [_record(each, redactor, is_limited=is_limited) for each in page.rows]
    return Page(rows, page.next_cursor)


def read_batch(
    storage: Storage,
    batch_id: str,
    *,
    redactor: Redactor,
    queues: Collection[str] | None = None,
) -> BatchRecord:
    """Return one batch with exact counts; secrets are masked.

    Raises:
        BatchNotFoundError: No batch that the caller may know has this id.
    """
    batch = known_batch(storage, batch_id, queues)
    return _record(batch, redactor, is_limited=queues is not None)


def jobs_of_batch(
    storage: Storage,
    batch_id: str,
    *,
    status: str | None = None,
    limit: int = DEFAULT_PAGE_SIZE,
    cursor: str | None = None,
    redactor: Redactor,
    queues: Collection[str] | None = None,
) -> Page[JobSummary]:
    """Return one page of the jobs of a batch, in the order of their ids.

    Args:
        storage: The stores.
        batch_id: The batch.
        status: Only jobs in this state. A page of jobs that are pending, failed or done
            may then have fewer than ``limit``, or none, although there are more.
        limit: 1 to 1,000.
        cursor: ``next_cursor`` of the page before.
        redactor: Masks their progress.
        queues: All that the caller may know; None means every queue.

    Raises:
        BatchNotFoundError: No batch that the caller may know has this id.
    """
    check_integer("limit", limit, 1, MAX_PAGE_SIZE)
    chosen = None if status is None else JobStatus.parse(status, "status")
    binding = ["jobs_of_batch", batch_id, status]
    after = "" if cursor is None else from_text_cursor(cursor, binding)
    known_batch(storage, batch_id, queues)
    rows, end = storage.batches.page_of_jobs(
        batch_id, status=chosen, after=after, limit=limit
    )
    return Page(
        [masked_row(row, redactor) for row in rows],
        None if end is None else to_text_cursor(end, binding),
    )


def inner_batches(
    storage: Storage, batch_id: str, *, limit: int, redactor: Redactor
) -> Sequence[BatchRecord]:
    """Return the first batches that a batch counts, in the order of their ids.

    The caller must know the batch, and so knows those within it.
    """
    batches = storage.batches.first_within(batch_id, limit)
    return [_record(each, redactor, is_limited=False) for each in batches]


def known_batch(
    storage: Storage, batch_id: str, queues: Collection[str] | None
) -> Batch:
    """Return a batch that a caller of these queues may know; None means all.

    Raises:
        BatchNotFoundError: There is none.
    """
    _require_possible_id(batch_id)
    batch = storage.batches.get(batch_id)
    if not is_known(batch.queues, queues):
        raise BatchNotFoundError(batch_id)
    return batch


def is_known(of_batch: Collection[str], queues: Collection[str] | None) -> bool:
    """Return whether a caller of these queues may know a batch of others."""
    return queues is None or (bool(of_batch) and set(of_batch) <= set(queues))


def _record(batch: Batch, redactor: Redactor, *, is_limited: bool) -> BatchRecord:
    shown, stored = (
        (str(each.payload(batch.name)), payload_value(batch.data, each, None))
        for each in (redactor, UNMASKED)
    )
    name, data = shown
    return BatchRecord(
        batch,
        name,
        data,
        redacted=shown != stored,
        within=None if is_limited else batch.within,
    )


# -- changing --------------------------------------------------------------------------


def seal(
    storage: Storage,
    batch_id: str,
    *,
    redactor: Redactor,
    queues: Collection[str] | None = None,
) -> BatchRecord:
    """Say that a batch has all its jobs, so that it ends with the last one; return it.

    Raises:
        BatchNotFoundError: No batch that the caller may know has this id.
    """
    require_known(storage, batch_id, queues)
    storage.batches.seal(batch_id)
    return read_batch(storage, batch_id, redactor=redactor, queues=queues)


def cancel(
    storage: Storage,
    batch_id: str,
    *,
    redactor: Redactor,
    queues: Collection[str] | None = None,
    limits: BulkLimits = NO_HASTE,
) -> BatchRecord:
    """End the jobs of a batch that wait, ask those that run to stop; return the batch.

    Once the time is over, a worker goes on.

    Raises:
        BatchNotFoundError: No batch that the caller may know has this id.
        ConflictError: The batch has ended.
    """
    if known_batch(storage, batch_id, queues).has_ended:
        raise ConflictError(f"batch {batch_id!r} has ended")
    batch = storage.batches.cancel(batch_id, limits.deadline())
    return _record(batch, redactor, is_limited=queues is not None)


def retry(
    storage: Storage,
    batch_id: str,
    *,
    redactor: Redactor,
    queues: Collection[str] | None = None,
    limits: BulkLimits = NO_HASTE,
) -> BatchRetried:
    """Run the dead jobs of a batch again; return the batch, and how many there were.

    Raises:
        BatchNotFoundError: No batch that the caller may know has this id.
    """
    require_known(storage, batch_id, queues)
    is_over = limits.deadline()
    changed = storage.batches.retry(batch_id, is_over)
    batch = read_batch(storage, batch_id, redactor=redactor, queues=queues)
    return BatchRetried(batch, changed, is_complete=not is_over())


def delete(
    storage: Storage,
    batch_id: str,
    *,
    queues: Collection[str] | None = None,
    limits: BulkLimits = NO_HASTE,
) -> None:
    """Delete a batch that has ended, and its jobs.

    Raises:
        BatchNotFoundError: No batch that the caller may know has this id.
        BatchUnfinishedError: The batch is open, or jobs of it are unfinished.
        ConflictError: The time was over before all its jobs were deleted.
    """
    require_known(storage, batch_id, queues)
    storage.batches.delete(batch_id, limits.deadline())


def require_known(
    storage: Storage, batch_id: str, queues: Collection[str] | None
) -> None:
    """Raise BatchNotFoundError unless a caller of these queues may know a batch."""
    if queues is not None:
        known_batch(storage, batch_id, queues)
    else:
        _require_possible_id(batch_id)


def _require_possible_id(batch_id: str) -> None:
    """Refuse text that cannot be an id, before it reaches a driver."""
    try:
        check_job_id(batch_id, "batch_id")
    except InvalidInputError as error:
        raise BatchNotFoundError(batch_id[:MAX_JOB_ID_LENGTH]) from error
