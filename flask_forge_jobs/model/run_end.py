"""The end of a run, by its outcome, a request to stop, or the loss of its worker.

The only place that decides it, for the row, the log, signals and counters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from flask_forge_jobs.model.attempts import AttemptEnding, RunSpan
from flask_forge_jobs.model.claims import (
    REAPED_MESSAGE,
    ClaimedJob,
    may_be_claimed_ahead,
)
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import UNSUCCESSFUL, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    EndedJob,
    Failed,
    FollowUps,
    Outcome,
    Released,
    Snooze,
    Throttled,
    ThrottleScope,
    clip,
)

if TYPE_CHECKING:
    from flask_forge_jobs.model.run_logs import LogChunk
    from flask_forge_jobs.model.steps import Checkpoint

CANCELLED_MESSAGE = "cancelled by user"
SUPERSEDED_MESSAGE = "superseded by active sibling"
# A job whose worker dies this often is not tried again (the poison-pill limit).
MAX_CRASHES = 3
# A job throttled this often in a row has failed; otherwise it could block its queue for
# ever.
MAX_CONSECUTIVE_THROTTLES = 100
# As many snoozes count in ``throttle_attempts``: their waits grow no further, and more
# of them would leave no throttle of those 100.
COUNTED_SNOOZES = 10
# A stopping worker gives a job back a second after it has asked it to stop; its program
# must have ended by then.
SHUTDOWN_GRACE_S = 0.5


class CancelReason(StrEnum):
    """Why a task should stop."""

    USER = "user"
    LOST = "lost"
    SHUTDOWN = "shutdown"
    TIMEOUT = "timeout"


class RunEnd(StrEnum):
    """How a run ends, in the words of the log."""

    DONE = "done"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"
    THROTTLED = "throttled"
    RELEASED = "released"

    @property
    def ending(self) -> Ending | None:
        """How the job ends, if it does without being done."""
        return _ENDINGS.get(self)

    @property
    def attempt_ending(self) -> AttemptEnding:
        """How the attempt ended, unless more is known of it."""
        return AttemptEnding.FAILED if self is RunEnd.DEAD else AttemptEnding(self)


_ENDINGS = {RunEnd.DEAD: Ending.DEAD, RunEnd.CANCELLED: Ending.CANCELLED}


@dataclass(slots=True)
class JobUpdate:
    """The one write that ends a run; its job's id and claim are part of the fence.

    Args:
        delay_s: Seconds until the job may be claimed again; None for a final state.
        error: Text for ``last_error`` and, unless it is a throttle, for the history.
        result: Canonical JSON text of the task's value.
        result_error: Why the value is not kept.
        uncount: The attempt does not count.
        is_timeout: The time limit ended the run.
        is_snooze: One of our own limits throttled it, not the remote side.
        is_counted: A throttle raises the job's ``throttle_attempts``.
        cool_down_s: Hint for cooling down the whole queue; None leaves it alone.
        run_us: Duration of the run; None if it never started.
        wait_us: From due to started; None if already counted.
        total_us: From enqueued to ended.
        ended_at: Monotonic time of the end of the run.
        concurrency_key: Under which a concurrency limit admitted the run, or None.
        was_tried: A write has failed, but may have been stored.
        is_cancelled: The job ends as cancelled by a user, ``error`` says so.
        span: When and where the task ran; None if it never started, or if it was done
            at the first claim, because nothing more is stored of that attempt.
        signature: That of the error of a failure, once it is known.
        logged: The lines that the run has logged and that may not be stored yet.
        saved: The value that its task has saved last, if that may not be stored yet.
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
    is_timeout: bool = False
    is_snooze: bool = False
    is_counted: bool = True
    cool_down_s: float | None = None
    run_us: int | None = None
    wait_us: int | None = None
    total_us: int = 0
    ended_at: float = 0.0
    concurrency_key: str | None = None
    was_tried: bool = False
    is_cancelled: bool = False
    follow_ups: FollowUps | None = None
    span: RunSpan | None = None
    signature: str | None = None
    logged: LogChunk | None = None
    saved: Checkpoint | None = None

    @property
    def is_failure(self) -> bool:
        """Whether the run failed; a cancelled one did not."""
        return self.status in UNSUCCESSFUL and not self.is_cancelled

    @property
    def end(self) -> RunEnd:
        """How the run ends."""
        if self.is_cancelled:
            return RunEnd.CANCELLED
        if self.status is JobStatus.PENDING:
            return RunEnd.THROTTLED if self.is_throttle else RunEnd.RELEASED
        return RunEnd(self.status)

    @property
    def attempt_ending(self) -> AttemptEnding:
        """How the attempt ends."""
        ending = self.end.attempt_ending
        if ending is AttemptEnding.FAILED and self.is_timeout:
            return AttemptEnding.TIMED_OUT
        if ending is AttemptEnding.THROTTLED and self.is_snooze:
            return AttemptEnding.SNOOZED
        return ending

    def cancel(self, message: str) -> None:
        """Make it the end of a job that a user has cancelled."""
        self.status, self.error, self.delay_s = JobStatus.DEAD, message, None
        self.traceback, self.is_cancelled = None, True

    def follow_up(self) -> NewJob | None:
        """Return the job that follows this one's end, if one does."""
        ending = self.end.ending
        chosen = None if ending is None else (self.follow_ups or {}).get(ending)
        if ending is None or chosen is None:
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


def end_of_run(
    job: ClaimedJob,
    outcome: Outcome,
    reason: CancelReason | None = None,
    *,
    timeout_s: float | None,
    is_final: Callable[[ClaimedJob, BaseException], bool],
    delay_s: Callable[[ClaimedJob, Failed], float],
) -> JobUpdate | None:
    """Return the write for an outcome; None if another worker has the job.

    Finished work stands. Otherwise the first request to stop decides: a user's ends the
    job, a shutdown gives it back, and a time limit counts as a ``TimeoutError``.

    Args:
        job: The job.
        outcome: The outcome of its task.
        reason: Why the run was asked to stop, or None.
        timeout_s: The time limit in seconds, for the message.
        is_final: Whether an exception of the job ends it.
        delay_s: Returns the seconds until the next attempt after a failure.
    """
    if reason is CancelReason.LOST:
        return None
    if isinstance(outcome, Done):
        return JobUpdate(
            job,
            JobStatus.DONE,
            result=outcome.result,
            result_error=outcome.result_error,
        )
    if reason is CancelReason.USER:
        cancelled = JobUpdate(job, JobStatus.DEAD)
        cancelled.cancel(CANCELLED_MESSAGE)
        return cancelled
    if reason is CancelReason.SHUTDOWN:
        outcome = Released()
    elif reason is CancelReason.TIMEOUT:
        message = "timed out" + ("" if timeout_s is None else f" after {timeout_s:g}s")
        trace = getattr(outcome, "traceback", None)
        is_dead = is_final(job, TimeoutError())
        outcome = Dead(message, trace) if is_dead else Failed(message, None, trace)
    update = _unfinished(job, outcome, delay_s)
    update.is_timeout = reason is CancelReason.TIMEOUT
    return update


def end_of_failure(
    job: ClaimedJob, failure: Failed, delay_s: Callable[[ClaimedJob, Failed], float]
) -> JobUpdate:
    """Return the write for a failure of a run that was not cancelled."""
    is_last = job.attempts >= job.max_attempts
    return JobUpdate(
        job,
        JobStatus.DEAD if is_last else JobStatus.FAILED,
        delay_s=None if is_last else delay_s(job, failure),
        error=failure.message,
        traceback=failure.traceback,
    )


def end_of_lost_run(
    *,
    attempts: int,
    max_attempts: int,
    crashes: int,
    is_asked: bool,
    cancel_reason: str | None,
    may_have_waited: bool = False,
) -> tuple[RunEnd, str, AttemptEnding]:
    """Return how a run ends whose worker fell silent, and the job's last error.

    Its attempt has crashed, unless a user asked it to stop. If it may not have started,
    the job gets another attempt, and waits for no back-off; the crash counts, so that
    the job waits for no slot again.

    Args:
        attempts: Attempts of the job, this one included.
        max_attempts: Its last attempt.
        crashes: How often a worker died under it before.
        is_asked: Whether a user asked it to stop.
        cancel_reason: The user's words, or None.
        may_have_waited: Whether no slot of the worker has shown it.
    """
    if is_asked:
        text = cancelled_message(cancel_reason)
        return RunEnd.CANCELLED, text, AttemptEnding.CANCELLED
    if crashes + 1 >= MAX_CRASHES:
        text = f"{REAPED_MESSAGE}: its worker process died {crashes + 1} times"
        return RunEnd.DEAD, text, AttemptEnding.CRASHED
    if may_have_waited and may_be_claimed_ahead(attempts, max_attempts, crashes):
        return RunEnd.RELEASED, REAPED_MESSAGE, AttemptEnding.CRASHED
    end = RunEnd.FAILED if attempts < max_attempts else RunEnd.DEAD
    return end, REAPED_MESSAGE, AttemptEnding.CRASHED


def stop_grace_s(reason: CancelReason | None, grace_s: float) -> float:
    """Return the seconds that a task gets to stop, normally ``grace_s``."""
    is_shutdown = reason is CancelReason.SHUTDOWN
    return min(grace_s, SHUTDOWN_GRACE_S) if is_shutdown else grace_s


def cancelled_message(reason: str | None) -> str:
    """Return the last error of a job that a user cancelled, with the user's reason."""
    words = (reason or "").strip()
    return clip(f"{CANCELLED_MESSAGE}: {words}" if words else CANCELLED_MESSAGE)


def _unfinished(
    job: ClaimedJob,
    outcome: Failed | Released | Throttled | Dead,
    delay_s: Callable[[ClaimedJob, Failed], float],
) -> JobUpdate:
    match outcome:
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
                is_snooze=isinstance(outcome, Snooze),
                is_counted=_is_counted(job, outcome),
                cool_down_s=outcome.retry_after_s if whole_queue else None,
            )
        case Throttled():
            message = f"throttled {MAX_CONSECUTIVE_THROTTLES} times in a row"
            if outcome.reason is not None:
                message = clip(f"{message}: {outcome.reason}")
            outcome = Failed(message)
    return end_of_failure(job, outcome, delay_s)


def _may_throttle_again(job: ClaimedJob, outcome: Throttled) -> bool:
    if isinstance(outcome, Snooze):
        return True
    return job.throttle_attempts + 1 < MAX_CONSECUTIVE_THROTTLES


def _is_counted(job: ClaimedJob, outcome: Throttled) -> bool:
    return job.throttle_attempts < COUNTED_SNOOZES or not isinstance(outcome, Snooze)
