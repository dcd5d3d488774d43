"""How a task ends, and what that does to its job.

A task ends by returning (:class:`Done`), by raising any exception (:class:`Failed`), or
by raising or returning :class:`Throttled` or :class:`Dead`. :func:`update_for` maps the
outcome to the one write that ends the run; it is pure, so the rules are tested without
a thread or a database.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import shown
from flask_forge_jobs.model.follow_ups import EndedJob, Ending, FollowUps
from flask_forge_jobs.model.jobs import JobStatus

if TYPE_CHECKING:
    from flask_forge_jobs.model.claims import ClaimedJob
    from flask_forge_jobs.model.jobs import NewJob

CANCELLED_MESSAGE = "cancelled by user"
REAPED_MESSAGE = "reaped after stale heartbeat"
SUPERSEDED_MESSAGE = "superseded by active sibling"
# A job whose process dies this often is not tried again (the poison-pill limit).
MAX_CRASHES = 3
# A job that is throttled this often in a row counts as failed, else one that always is
# would hold up its queue for ever.
MAX_CONSECUTIVE_THROTTLES = 100
MAX_THROTTLE_S = 86_400.0
MAX_ERROR_BYTES = 8192
MAX_REASON_LENGTH = 1000
MAX_RESULT_BYTES = 65_536
MAX_PROGRESS_BYTES = 1024


class ThrottleScope(StrEnum):
    """What a throttle holds back: this job only, or its whole queue."""

    JOB = "job"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Done:
    """The task returned.

    ``result`` is the canonical JSON text of its value; ``None`` when there is none, or
    when it cannot be kept for the reason that ``result_error`` gives.
    """

    result: str | None = None
    result_error: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised; the job is tried again while it has attempts left."""

    message: str
    # Seconds until the next attempt; None leaves it to the task's policy. The back-off
    # of a queue, where an operator has enabled it, comes first.
    retry_after_s: float | None = None
    # Where it came from, masked; None where no exception did.
    traceback: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Released:
    """The task was stopped by the worker's shutdown; the attempt is not counted."""


class Throttled(Exception):  # noqa: N818  # an outcome that may be raised, not an error
    """The remote side asked for a pause; return or raise it from a task.

    The attempt is not counted.

    Args:
        retry_after_s: Seconds to wait, 0 to 86400; 0 leaves it to the queue's curve.
            What is below or above counts as 0 or 86400.
        scope: ``"queue"`` cools the whole queue down; ``"job"`` defers this job only.
        reason: Why, kept as the job's last error; by default what it was raised from.

    Raises:
        InvalidInputError: ``retry_after_s`` is not a number.
    """

    def __init__(
        self,
        retry_after_s: float = 0.0,
        *,
        scope: ThrottleScope | str = ThrottleScope.QUEUE,
        reason: str | None = None,
    ) -> None:
        try:
            seconds = float(retry_after_s)
        except (TypeError, ValueError, OverflowError):
            seconds = math.nan
        # A NaN passes every comparison, and would end in no instant at all.
        if math.isnan(seconds):
            raise InvalidInputError(
                "retry_after_s", f"{shown(retry_after_s)} is not a number of seconds"
            )
        self.retry_after_s = min(max(seconds, 0.0), MAX_THROTTLE_S)
        super().__init__(f"throttled for {self.retry_after_s} s")
        self.scope = ThrottleScope(scope)
        self.reason = reason


class Snooze(Throttled):
    """A limit of our own has no room for the job; it comes back by itself.

    Raised by :meth:`TaskContext.rate_limit`. The job alone is deferred, its attempt is
    not counted, and however often that happens it never counts as a failure.

    Args:
        retry_after_s: Seconds until it comes back, 0 to 86400.
        reason: Why, kept as the job's last error; None leaves that as it is.
    """

    def __init__(self, retry_after_s: float, reason: str | None = None) -> None:
        super().__init__(retry_after_s, scope=ThrottleScope.JOB, reason=reason)


class Dead(Exception):  # noqa: N818  # an outcome that may be raised, not an error
    """The job cannot succeed; return or raise it from a task to end all attempts.

    Args:
        message: Why, stored as the job's last error.
        traceback: Where it came from; filled in for what a task raises.
    """

    def __init__(self, message: str, traceback: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.traceback = traceback


Outcome = Done | Failed | Released | Throttled | Dead


@dataclass(slots=True)
class JobUpdate:
    """The one write that ends a run.

    Args:
        job: The run that ends; its id and claim are part of the fence.
        status: The state the job goes to.
        delay_s: Seconds until the job may be claimed again; None for a final state.
        error: Text for ``last_error`` and, unless it is a throttle, for the history; or
            None.
        traceback: Where the error came from, for the history, or None.
        result: Canonical JSON text of the task's value, or None.
        result_error: Why the value is not kept, or None.
        uncount: The attempt is given back.
        is_throttle: Counts as one more throttle of this job.
        cool_down_s: None, or the hint with which the whole queue cools down.
        run_us: How long the run took, None when it never started.
        wait_us: How long the job had been due when the run started, None when that is
            counted already.
        total_us: How long ago the job was enqueued when the run ended.
        concurrency_key: Under which a concurrency limit admitted the run, or None.
        was_tried: A write of it has failed, and may be stored all the same.
        follow_ups: What follows the job should it end without being done, or None.
    """

    job: ClaimedJob
    status: JobStatus
    delay_s: float | None = None
    error: str | None = None
    traceback: str | None = None
    result: str | None = None
    result_error: str | None = None
    uncount: bool = False
    is_throttle: bool = False
    cool_down_s: float | None = None
    run_us: int | None = None
    wait_us: int | None = None
    total_us: int = 0
    concurrency_key: str | None = None
    was_tried: bool = False
    follow_ups: FollowUps | None = None

    def follow_up(self, *, was_cancelled: bool) -> NewJob | None:
        """Return the job that follows this one now that it is stored, if one does.

        Args:
            was_cancelled: The job has ended as cancelled although the run said
                otherwise.
        """
        if was_cancelled or (
            self.status is JobStatus.DEAD and self.error == CANCELLED_MESSAGE
        ):
            ending, error = Ending.CANCELLED, CANCELLED_MESSAGE
        elif self.status is JobStatus.DEAD:
            ending, error = Ending.DEAD, self.error or ""
        else:
            return None
        chosen = (self.follow_ups or {}).get(ending)
        if chosen is None:
            return None
        job = self.job
        return chosen.job(
            EndedJob(
                id=job.id,
                kind=job.kind,
                queue_name=job.queue_name,
                arguments=None,
                attempts=job.attempts,
                error=error,
                ending=ending.value,
            ),
            job.payload,
        )


def update_for(
    job: ClaimedJob, outcome: Outcome, *, failure_delay_s: float, user_cancelled: bool
) -> JobUpdate:
    """Return the write that an outcome asks for.

    Args:
        job: The run that ended.
        outcome: How it ended.
        failure_delay_s: Delay before another attempt should the job be retried.
        user_cancelled: The run was cancelled by a user; everything but ``Done`` is then
            final, because the work that happened stands.
    """
    match outcome:
        case Done(result, unkept):
            return JobUpdate(job, JobStatus.DONE, result=result, result_error=unkept)
        case _ if user_cancelled:
            return JobUpdate(job, JobStatus.DEAD, error=CANCELLED_MESSAGE)
        case Released():
            return JobUpdate(job, JobStatus.PENDING, delay_s=0.0, uncount=True)
        case Dead(message=message):
            trace = outcome.traceback
            return JobUpdate(job, JobStatus.DEAD, error=message, traceback=trace)
        case Throttled() if _may_throttle_again(job, outcome):
            whole_queue = outcome.scope is ThrottleScope.QUEUE
            return JobUpdate(
                job,
                JobStatus.PENDING,
                delay_s=outcome.retry_after_s,
                error=outcome.reason,
                uncount=True,
                is_throttle=True,
                cool_down_s=outcome.retry_after_s if whole_queue else None,
            )
        case Throttled():
            message = f"throttled {MAX_CONSECUTIVE_THROTTLES} times in a row"
            if outcome.reason is not None:
                message = clip(f"{message}: {outcome.reason}")
            return _failure_update(job, Failed(message), failure_delay_s)
        case Failed():
            return _failure_update(job, outcome, failure_delay_s)


def _may_throttle_again(job: ClaimedJob, outcome: Throttled) -> bool:
    if isinstance(outcome, Snooze):
        return True
    return job.throttle_attempts + 1 < MAX_CONSECUTIVE_THROTTLES


def _failure_update(
    job: ClaimedJob, failure: Failed, failure_delay_s: float
) -> JobUpdate:
    is_last = job.attempts >= job.max_attempts
    return JobUpdate(
        job,
        JobStatus.DEAD if is_last else JobStatus.FAILED,
        delay_s=None if is_last else failure_delay_s,
        error=failure.message,
        traceback=failure.traceback,
    )


def cancelled_message(reason: str | None) -> str:
    """Return the last error of a job that a user cancelled.

    Args:
        reason: The user's own words; None or blank says nothing more.
    """
    words = (reason or "").strip()
    return clip(f"{CANCELLED_MESSAGE}: {words}" if words else CANCELLED_MESSAGE)


def clip(text: str, longest_bytes: int = MAX_ERROR_BYTES) -> str:
    """Return text that both databases can store, cut to a number of UTF-8 bytes.

    NUL characters become U+FFFD and halves of surrogate pairs ``?``.
    """
    encoded = text.replace("\x00", "\ufffd").encode("utf-8", "replace")
    if len(encoded) <= longest_bytes:
        return encoded.decode("utf-8")
    return encoded[:longest_bytes].decode("utf-8", "ignore")
