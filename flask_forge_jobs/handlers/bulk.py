"""Bulk actions, on a list of ids or on all jobs that match a filter.

One call does a bounded amount of work. At its limit it says that it is not complete,
and the next call continues. Other writers get their turn between two batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Unpack

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import (
    CountDiffersError,
    InvalidInputError,
    QueueNotFoundError,
)
from flask_forge_jobs.handlers.job_actions import distinct_ids
from flask_forge_jobs.model.bounds import check_integer, check_kind, check_queue_name
from flask_forge_jobs.model.bulk import (
    DEFAULT_MAX_ROWS,
    BulkChange,
    ChangeOptions,
    JobAction,
    WalkPosition,
)
from flask_forge_jobs.model.instants import MICROSECOND
from flask_forge_jobs.model.jobs import UNSUCCESSFUL, JobFilter, JobStatus
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.pace import BATCH

# By default gunicorn kills a worker that is silent for 30 s.
MAX_SECONDS = 20.0
MAX_DAYS = 36_500
# The actual number may differ from the expected one by the larger of these.
_TOLERATED_SHARE = 0.1
_TOLERATED_ROWS = 10


@dataclass(frozen=True, slots=True)
class BulkLimits:
    """How much one call may do.

    Args:
        max_rows: Most jobs to act on; default 50,000.
        max_s: Seconds after which no new batch begins; default 20.
        clock: Measures them.
    """

    max_rows: int = DEFAULT_MAX_ROWS
    max_s: float = MAX_SECONDS
    clock: Clock = field(default_factory=SystemClock)

    def deadline(self) -> Callable[[], bool]:
        """Return a function that tells whether the time of a call is over."""
        ends_at = self.clock.monotonic() + self.max_s
        return lambda: self.clock.monotonic() >= ends_at


@dataclass(frozen=True, slots=True)
class BulkReport:
    """The result of one call.

    An incomplete call on a filter ends at ``position``, one on ids at ``last_id``.
    """

    change: BulkChange
    is_complete: bool
    position: WalkPosition | None = None
    last_id: str | None = None


class _Call:
    """One call: adds up its batches and says when to stop."""

    def __init__(self, limits: BulkLimits) -> None:
        self.change = BulkChange()
        self._is_over = limits.deadline()
        self._left = limits.max_rows

    @property
    def room(self) -> int:
        """How many rows the next batch may have; 0 ends the call."""
        if self._is_over():
            return 0
        return min(self._left, BATCH)

    def add(self, rows: int, change: BulkChange) -> None:
        self._left -= rows
        self.change += change


def retry_by_status(
    storage: Storage,
    *,
    status: str,
    limits: BulkLimits,
    queue_name: str | None = None,
    kind: str | None = None,
    within: Sequence[str] | None = None,
) -> BulkReport:
    """Retry all failed or all dead jobs now, with all their attempts again.

    A job whose dedupe key is held by an unfinished job is skipped. Without
    ``queue_name``, ``within`` limits the queues; None means all.
    """
    job_filter = JobFilter(
        queues=_queues(storage, queue_name, within),
        kinds=_kinds(kind),
        statuses=(JobStatus.parse(status, "status"),),
    )
    if job_filter.statuses[0] not in UNSUCCESSFUL:
        raise InvalidInputError(
            "status", f"{status!r} is not one of {', '.join(UNSUCCESSFUL)}"
        )
    return change_matching(storage, JobAction.RETRY, job_filter, limits)


def delete_by_status(
    storage: Storage,
    *,
    status: str,
    limits: BulkLimits,
    queue_name: str | None = None,
    kind: str | None = None,
    older_than: datetime | None = None,
    expected: int | None = None,
    within: Sequence[str] | None = None,
) -> BulkReport:
    """Delete all jobs in one state; running ones are asked to stop.

    ``older_than`` limits them to jobs enqueued before it. ``expected`` is checked by
    :func:`check_expected`. Without ``queue_name``, ``within`` limits the queues; None
    means all.
    """
    last = None if older_than is None else older_than - MICROSECOND
    job_filter = JobFilter(
        queues=_queues(storage, queue_name, within),
        kinds=_kinds(kind),
        statuses=(JobStatus.parse(status, "status"),),
        enqueued_to=last,
    )
    if expected is not None:
        check_expected(expected, storage.job_reader.total(job_filter))
    return change_matching(storage, JobAction.DELETE, job_filter, limits)


def delete_done_older_than(
    storage: Storage,
    *,
    days: int,
    limits: BulkLimits,
    queue_name: str | None = None,
    within: Sequence[str] | None = None,
) -> BulkReport:
    """Delete the done jobs that finished at least ``days`` ago; 0 means all.

    Without ``queue_name``, ``within`` limits the queues; None means all that have jobs.
    """
    check_integer("days", days, 0, MAX_DAYS)
    names = _queues(storage, queue_name, within)
    if names is None:
        names = sorted(storage.job_reader.statistics())
    call = _Call(limits)
    for name in names:
        while room := call.room:
            deleted = storage.retention.delete(name, JobStatus.DONE, days, room)
            call.add(deleted, BulkChange(deleted))
            if deleted < room:
                break
        else:
            return BulkReport(call.change, is_complete=False)
    return BulkReport(call.change, is_complete=True)


def check_expected(expected: int, matched: int) -> None:
    """Compare the number of jobs with the expected one.

    Raises:
        CountDiffersError: They differ by more than 10 % and more than 10 jobs.
    """
    difference = abs(matched - expected)
    if difference > max(expected * _TOLERATED_SHARE, _TOLERATED_ROWS):
        raise CountDiffersError(expected, matched)


def _kinds(kind: str | None) -> tuple[str, ...]:
    return () if kind is None else (check_kind(kind),)


def _queues(
    storage: Storage, queue_name: str | None, within: Sequence[str] | None
) -> Sequence[str] | None:
    if queue_name is None:
        return within
    check_queue_name(queue_name)
    try:
        storage.queues.get(queue_name)
    except QueueNotFoundError:
        # An unregistered queue may still have jobs.
        if not storage.job_reader.total(JobFilter(queues=(queue_name,))):
            raise
    return (queue_name,)


def change_named(
    storage: Storage,
    action: JobAction,
    job_ids: Sequence[str],
    limits: BulkLimits,
    *,
    after_id: str = "",
    **options: Unpack[ChangeOptions],
) -> BulkReport:
    """Act on at most 10,000 jobs in the order of their ids, after ``after_id``."""
    distinct = sorted(each for each in distinct_ids(job_ids) if each > after_id)
    call = _Call(limits)
    done = 0
    while done < len(distinct):
        if not (room := call.room):
            last_id = distinct[done - 1] if done else after_id
            return BulkReport(call.change, is_complete=False, last_id=last_id)
        batch = distinct[done : done + room]
        change = storage.job_admin.change(action, batch, **options)
        call.add(len(batch), change)
        done += len(batch)
    return BulkReport(call.change, is_complete=True)


def change_matching(
    storage: Storage,
    action: JobAction,
    job_filter: JobFilter,
    limits: BulkLimits,
    *,
    after: WalkPosition | None = None,
    **options: Unpack[ChangeOptions],
) -> BulkReport:
    """Act on all jobs that match, behind ``after``, except those in a wrong state."""
    call = _Call(limits)
    while room := call.room:
        step = storage.job_admin.step(
            action, job_filter, after=after, limit=room, **options
        )
        call.add(step.matched, step.change)
        after = step.position
        if after is None:
            return BulkReport(call.change, is_complete=True)
    return BulkReport(call.change, is_complete=False, position=after)
