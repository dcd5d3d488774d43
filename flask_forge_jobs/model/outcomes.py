"""How a task ends, what that does to its job, and which job follows.

A task ends by returning (:class:`Done`), by raising any exception (:class:`Failed`), or
by raising or returning :class:`Throttled` or :class:`Dead`. :func:`update_for` maps the
outcome to the one write that ends the run. A job that ended without being done may have
a follow-up (:class:`FollowUp`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, TypedDict

from flask_forge_jobs.errors import InvalidInputError
from flask_forge_jobs.model.bounds import MAX_PAYLOAD_BYTES, shown
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import JobStatus, NewJob
from flask_forge_jobs.model.payloads import dump, load_text

CANCELLED_MESSAGE = "cancelled by user"
SUPERSEDED_MESSAGE = "superseded by active sibling"
# A job whose worker dies this often is not tried again (the poison-pill limit).
MAX_CRASHES = 3
# A job throttled this often in a row has failed; otherwise it could hold up its queue
# for ever.
MAX_CONSECUTIVE_THROTTLES = 100
# As many snoozes count in ``throttle_attempts``: their waits grow no further, and more
# of them would leave no throttle of those 100.
COUNTED_SNOOZES = 10
MAX_THROTTLE_S = 86_400.0
MAX_ERROR_BYTES = 8192
MAX_REASON_LENGTH = 1000
MAX_RESULT_BYTES = 65_536
MAX_PROGRESS_BYTES = 1024
# Most bytes of the other members, the escapes of the error included.
_ROOM_BYTES = 65_536


class ThrottleScope(StrEnum):
    """What a throttle holds back: only this job, or its whole queue."""

    JOB = "job"
    QUEUE = "queue"


@dataclass(frozen=True, slots=True)
class Done:
    """The task returned.

    ``result`` is the canonical JSON text of its value; None without a value, or if the
    value cannot be kept for the reason in ``result_error``.
    """

    result: str | None = None
    result_error: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The task raised; the job is retried while it has attempts left.

    ``retry_after_s`` of None leaves the delay to the task's policy. A queue's back-off,
    where an operator has enabled it, comes first. ``traceback`` is masked.
    """

    message: str
    retry_after_s: float | None = None
    traceback: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Released:
    """The worker's shutdown stopped the task; the attempt does not count."""


class Throttled(Exception):  # noqa: N818  # an outcome that may be raised, not an error
    """The remote side asked for a pause; return or raise it from a task.

    The attempt does not count.

    Args:
        retry_after_s: Seconds to wait, cut to 0 to 86400; 0 leaves it to the queue's
            curve.
        scope: ``"queue"`` cools the whole queue down; ``"job"`` delays only this job.
        reason: Stored as the job's last error; by default what it was raised from.

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
        # A NaN passes every comparison but is no delay.
        if math.isnan(seconds):
            raise InvalidInputError(
                "retry_after_s", f"{shown(retry_after_s)} is not a number of seconds"
            )
        self.retry_after_s = min(max(seconds, 0.0), MAX_THROTTLE_S)
        super().__init__(f"throttled for {self.retry_after_s} s")
        self.scope = ThrottleScope(scope)
        self.reason = reason


class Snooze(Throttled):
    """One of our own limits has no room for the job, which comes back by itself.

    Raised by :meth:`TaskContext.rate_limit`. It delays only this job; neither the
    attempt nor any number of snoozes counts as a failure.

    Args:
        retry_after_s: Seconds until it comes back, 0 to 86400.
        reason: Stored as the job's last error; None keeps the error it has.
    """

    def __init__(self, retry_after_s: float, reason: str | None = None) -> None:
        super().__init__(retry_after_s, scope=ThrottleScope.JOB, reason=reason)


class Dead(Exception):  # noqa: N818  # an outcome that may be raised, not an error
    """The job cannot succeed; return or raise it from a task to end all attempts.

    Args:
        message: Stored as the job's last error.
        traceback: Filled in when a task raises this.
    """

    def __init__(self, message: str, traceback: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.traceback = traceback


Outcome = Done | Failed | Released | Throttled | Dead


class EndedJob(TypedDict):
    """What a task of ``on_dead=`` or ``on_cancelled=`` receives.

    ``arguments`` is the job's payload; None if that is damaged, or too large for
    another payload (over 960 KiB). ``ending`` is ``"dead"`` or ``"cancelled"``.
    """

    id: str
    kind: str
    queue_name: str
    arguments: Any
    attempts: int
    error: str
    ending: str


class FollowUp(NamedTuple):
    """A follow-up as stored; ``parameter`` of its task takes the :class:`EndedJob`."""

    kind: str
    parameter: str
    queue_name: str
    priority: int
    max_attempts: int

    def job(self, ended: EndedJob, payload: str) -> NewJob:
        """Return the follow-up job of a job, whose payload is JSON text."""
        told = ended | {"arguments": None}
        text = dump({self.parameter: told})
        if len(payload) <= MAX_PAYLOAD_BYTES - _ROOM_BYTES:
            # Suppressed: the payload is damaged, or nested as deep as allowed.
            with contextlib.suppress(InvalidInputError):
                text = dump({self.parameter: told | {"arguments": load_text(payload)}})
        return NewJob.of_canonical(
            text,
            kind=self.kind,
            queue_name=self.queue_name,
            priority=self.priority,
            max_attempts=self.max_attempts,
        )


FollowUps = Mapping[Ending, FollowUp]


@dataclass(slots=True)
class JobUpdate:
    """The one write that ends a run; its job's id and claim are part of the fence.

    Args:
        delay_s: Seconds until the job may be claimed again; None for a final state.
        error: Text for ``last_error`` and, unless it is a throttle, for the history.
        result: Canonical JSON text of the task's value.
        result_error: Why the value is not kept.
        uncount: The attempt does not count.
        is_counted: A throttle raises the job's ``throttle_attempts``.
        cool_down_s: Hint for cooling down the whole queue; None leaves it alone.
        run_us: Duration of the run; None if it never started.
        wait_us: From due to started; None if already counted.
        total_us: From enqueued to ended.
        concurrency_key: Under which a concurrency limit admitted the run, or None.
        was_tried: A write has failed, but may have been stored.
        is_cancelled: The job ends as cancelled by a user, ``error`` says so.
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
    is_counted: bool = True
    cool_down_s: float | None = None
    run_us: int | None = None
    wait_us: int | None = None
    total_us: int = 0
    concurrency_key: str | None = None
    was_tried: bool = False
    is_cancelled: bool = False
    follow_ups: FollowUps | None = None

    def cancel(self, message: str) -> None:
        """Make it the end of a job that a user has cancelled."""
        self.status, self.error, self.delay_s = JobStatus.DEAD, message, None
        self.is_cancelled = True

    def follow_up(self) -> NewJob | None:
        """Return the job that follows this one's end, if one does."""
        if self.status is not JobStatus.DEAD:
            return None
        ending = Ending.CANCELLED if self.is_cancelled else Ending.DEAD
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
                error=str(self.error or ""),  # a plain one, as JSON has it
                ending=ending.value,
            ),
            job.payload,
        )


def update_for(
    job: ClaimedJob, outcome: Outcome, *, failure_delay_s: float, user_cancelled: bool
) -> JobUpdate:
    """Return the write for an outcome; a retry waits ``failure_delay_s``.

    After a cancel by a user, everything but ``Done`` is final.
    """
    match outcome:
        case Done(result, unkept):
            return JobUpdate(job, JobStatus.DONE, result=result, result_error=unkept)
        case _ if user_cancelled:
            cancelled = JobUpdate(job, JobStatus.DEAD)
            cancelled.cancel(CANCELLED_MESSAGE)
            return cancelled
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
                is_counted=_is_counted(job, outcome),
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


def _is_counted(job: ClaimedJob, outcome: Throttled) -> bool:
    return job.throttle_attempts < COUNTED_SNOOZES or not isinstance(outcome, Snooze)


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
    """Return the last error of a job that a user cancelled, with the user's reason."""
    words = (reason or "").strip()
    return clip(f"{CANCELLED_MESSAGE}: {words}" if words else CANCELLED_MESSAGE)


def clip(text: str, longest_bytes: int = MAX_ERROR_BYTES) -> str:
    """Return text cut to a number of UTF-8 bytes that both databases can store.

    NUL characters become U+FFFD, halves of surrogate pairs ``?``.
    """
    encoded = text.replace("\x00", "\ufffd").encode("utf-8", "replace")
    if len(encoded) <= longest_bytes:
        return encoded.decode("utf-8")
    return encoded[:longest_bytes].decode("utf-8", "ignore")
