"""Acting on many jobs at once: on a list of ids, or on everything that matches.

A call does a bounded amount of work: it ends after so many rows or seconds, says that
it was cut short, and the next call goes on. Between two batches other writers get their
turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import (
    CountDiffersError,
    InvalidInputError,
    QueueNotFoundError,
)
from flask_forge_jobs.handlers.job_actions import distinct_ids
from flask_forge_jobs.model.bounds import check_integer, check_kind, check_queue_name
from flask_forge_jobs.model.bulk import BulkChange, JobAction, WalkPosition
from flask_forge_jobs.model.instants import MICROSECOND
from flask_forge_jobs.model.jobs import REQUEUEABLE, JobFilter, JobStatus
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.pace import BATCH

DEFAULT_MAX_ROWS = 50_000
# gunicorn ends a worker that is silent for 30 s.
MAX_SECONDS = 20.0
MAX_DAYS = 36_500
# The live number may differ from the expected one by so much.
_TOLERATED_SHARE = 0.1
_TOLERATED_ROWS = 10


@dataclass(frozen=True, slots=True)
class BulkLimits:
    """How much one call may do.

    Args:
        max_rows: Most jobs that are acted on.
        max_s: No new batch is begun after so many seconds.
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
    """What one call did.

    Args:
        change: What became of the jobs that it acted on.
        is_complete: False when the call was cut short.
        position: Where a walk that was cut short goes on.
        last_id: The last of the named jobs that a call came to that was cut short.
    """

    change: BulkChange
    is_complete: bool
    position: WalkPosition | None = None
    last_id: str | None = None


class _Call:
    """One call: adds up what its batches did, and says when to stop."""

    def __init__(self, limits: BulkLimits) -> None:
        self.change = BulkChange()
        self._clock = limits.clock
        self._ends_at = limits.clock.monotonic() + limits.max_s
        self._left = limits.max_rows

    @property
    def room(self) -> int:
        """How many rows the next batch may have; 0 when the call must end."""
        if self._clock.monotonic() >= self._ends_at:
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
    """Make all failed or all dead jobs due now, with a full new budget of attempts.

    A job whose key is held by an unfinished one is skipped.

    Args:
        storage: Where the jobs are.
        status: ``failed`` or ``dead``.
        limits: How much to do.
        queue_name: Only of this queue; None means all.
        kind: Only of this kind; None means all.
        within: Without a queue, only of these; None means all.

    Raises:
        InvalidInputError: The state is another, or a name cannot be one.
        QueueNotFoundError: The queue is neither registered nor named by any job.
    """
    wanted = JobFilter(
        queues=_queues(storage, queue_name, within),
        kinds=_kinds(kind),
        statuses=(JobStatus.parse(status),),
    )
    if wanted.statuses[0] not in REQUEUEABLE:
        raise InvalidInputError(
            "status", f"{status!r} is not one of {', '.join(REQUEUEABLE)}"
        )
    return change_matching(storage, JobAction.RETRY, wanted, limits)


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
    """Delete all jobs in one state; running ones are asked to stop instead.

    Args:
        storage: Where the jobs are.
        status: One of the five.
        limits: How much to do.
        queue_name: Only of this queue; None means all.
        kind: Only of this kind; None means all.
        older_than: Only jobs enqueued before this instant.
        expected: How many the caller thinks there are.
        within: Without a queue, only of these; None means all.

    Raises:
        InvalidInputError: The state is unknown, or a name cannot be one.
        QueueNotFoundError: The queue is neither registered nor named by any job.
        CountDiffersError: There are more than 10 % and more than 10 rows more or fewer
            than expected.
    """
    last = None if older_than is None else older_than - MICROSECOND
    wanted = JobFilter(
        queues=_queues(storage, queue_name, within),
        kinds=_kinds(kind),
        statuses=(JobStatus.parse(status),),
        enqueued_to=last,
    )
    if expected is not None:
        check_expected(expected, storage.job_reader.total(wanted))
    return change_matching(storage, JobAction.DELETE, wanted, limits)


def delete_done_older_than(
    storage: Storage,
    *,
    days: int,
    limits: BulkLimits,
    queue_name: str | None = None,
    within: Sequence[str] | None = None,
) -> BulkReport:
    """Delete jobs that were done so many days ago.

    Args:
        storage: Where the jobs are.
        days: 0 to 36500; 0 means every done job.
        limits: How much to do.
        queue_name: Only of this queue; None means every queue that has jobs.
        within: Without a queue, only of these; None means all.

    Raises:
        InvalidInputError: ``days`` is out of bounds, or the name cannot be one.
        QueueNotFoundError: The queue is neither registered nor named by any job.
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
            if not deleted:
                break
        else:
            return BulkReport(call.change, is_complete=False)
    return BulkReport(call.change, is_complete=True)


def check_expected(expected: int, matched: int) -> None:
    """Compare a number with the one that the caller has seen.

    Raises:
        CountDiffersError: They differ by more than 10 % and more than 10 rows.
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
    _require_queue(storage, queue_name)
    return (queue_name,)


def _require_queue(storage: Storage, name: str) -> None:
    check_queue_name(name)
    try:
        storage.queues.get(name)
    except QueueNotFoundError:
        # A queue that was unregistered may have left jobs behind.
        if not storage.job_reader.total(JobFilter(queues=(name,))):
            raise


def change_named(
    storage: Storage,
    action: JobAction,
    job_ids: Sequence[str],
    limits: BulkLimits,
    *,
    run_at: datetime | None = None,
    after_id: str = "",
) -> BulkReport:
    """Act on named jobs, in the order of their ids.

    Args:
        storage: Where the jobs are.
        action: What to do.
        job_ids: At most 10,000; naming one twice is naming it once.
        limits: How much to do.
        run_at: New start of a reschedule.
        after_id: Leave out this id and those before it.

    Raises:
        InvalidInputError: Too many ids, or one that cannot be an id.
    """
    distinct = sorted(each for each in distinct_ids(job_ids) if each > after_id)
    call = _Call(limits)
    done = 0
    while done < len(distinct):
        if not (room := call.room):
            last_id = distinct[done - 1] if done else after_id
            return BulkReport(call.change, is_complete=False, last_id=last_id)
        batch = distinct[done : done + room]
        change = storage.job_admin.change(action, batch, run_at=run_at)
        call.add(len(batch), change)
        done += len(batch)
    return BulkReport(call.change, is_complete=True)


def change_matching(
    storage: Storage,
    action: JobAction,
    wanted: JobFilter,
    limits: BulkLimits,
    *,
    run_at: datetime | None = None,
    after: WalkPosition | None = None,
) -> BulkReport:
    """Act on everything that matches; jobs in a wrong state are passed over.

    Args:
        storage: Where the jobs are.
        action: What to do.
        wanted: Which jobs.
        limits: How much to do.
        run_at: New start of a reschedule.
        after: Go on behind this job.
    """
    call = _Call(limits)
    while room := call.room:
        step = storage.job_admin.step(
            action, wanted, after=after, limit=room, run_at=run_at
        )
        call.add(step.matched, step.change)
        after = step.position
        if after is None:
            return BulkReport(call.change, is_complete=True)
    return BulkReport(call.change, is_complete=False, position=after)
