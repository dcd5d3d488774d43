"""TaskContext: what a task may know and do while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.outcomes import MAX_PROGRESS_BYTES, Snooze
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.storage.limits import RateLimits
from flask_forge_jobs.tasks.cancellation import CancelToken
from flask_forge_jobs.tasks.failures import Mask, forget_frames, mask_known

EnqueueJob = Callable[[NewJob], EnqueueResult]
ProgressSink = Callable[[str], None]
Dispose = Callable[[BaseException], object]

_current: ContextVar[TaskContext] = ContextVar("forge_jobs_current_job")


@dataclass(frozen=True, slots=True)
class TaskContext:
    """The job a task runs for.

    Args:
        job_id: The job.
        kind: Its kind.
        queue_name: The queue it waited in.
        attempt: This attempt, from 1.
        max_attempts: Most attempts.
        worker_id: The worker process, which owns the job.
        cancel: Trips when the task should stop.
        deadline: Instant of :meth:`Clock.monotonic` at which the task is asked to stop;
            None means no limit.
        clock: Tells how much of the deadline is left.
        enqueue_job: Stores a follow-up job.
        progress_sink: Takes the canonical JSON text of a progress report.
        rate_limits: The token buckets that all processes share.
        carried: What the request that enqueued the job had of ``request_id``,
            ``traceparent`` and ``tracestate``, or the job that did.
        throttle_attempts: How often in a row the job was throttled or snoozed.
        mask: Masks the secrets in what is logged of the task.
        dispose: Takes what the task raised once its text is stored; by default drops
            the frames, which keep every local alive.
    """

    job_id: str
    kind: str
    queue_name: str
    attempt: int
    max_attempts: int
    worker_id: str
    cancel: CancelToken
    deadline: float | None
    clock: Clock
    enqueue_job: EnqueueJob
    progress_sink: ProgressSink
    rate_limits: RateLimits
    throttle_attempts: int = 0
    carried: Mapping[str, str] = field(default_factory=dict)
    mask: Mask = mask_known
    dispose: Dispose = forget_frames

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure now ends the job."""
        return self.attempt >= self.max_attempts

    def seconds_left(self) -> float | None:
        """Return the seconds until the time limit, at least 0; None without one."""
        if self.deadline is None:
            return None
        return max(self.deadline - self.clock.monotonic(), 0.0)

    def set_progress(self, value: object) -> None:
        """Report how far the task is; shown to operators within a second or so.

        Args:
            value: Any JSON value of at most 1 KiB, such as ``{"done": 3, "of": 10}``.

        Raises:
            InvalidInputError: The value is not JSON or too large.
        """
        self.progress_sink(dump(value, "progress", MAX_PROGRESS_BYTES))

    def progress(
        self,
        done: float,
        total: float | None = None,
        message: str | None = None,
    ) -> None:
        """Report how far the task is, and stop here if it should.

        The report is ``{"done": 3, "total": 10, "message": "…"}``, without what is
        None.

        Args:
            done: How much is done, in any unit.
            total: How much there is to do, in the same unit; None when unknown.
            message: Some words for whoever waits. The report has room for 1 KiB.

        Raises:
            CancelledError: The task should stop; let it pass.
            InvalidInputError: A number is none, or the message is too long.
        """
        self.check()
        report = {"done": done, "total": total, "message": message}
        self.set_progress({k: v for k, v in report.items() if v is not None})

    def check(self) -> None:
        """Stop here if the task should: cancelled, out of time, or shut down.

        A cancel that a user asks for arrives within about a second.

        Raises:
            CancelledError: The task should stop; let it pass. The worker then ends the
                job, or gives it back at a shutdown.
        """
        self.cancel.raise_if_cancelled()

    def sleep(self, seconds: float) -> None:
        """Sleep, and stop at once if the task should.

        Args:
            seconds: How long to sleep.

        Raises:
            CancelledError: The task should stop; let it pass.
        """
        self.cancel.wait(seconds)
        self.check()

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store a follow-up job.

        The application's router is asked when the job names no queue; errors as for
        :meth:`QueueRuntime.enqueue`.
        """
        return self.enqueue_job(job)

    def rate_limit(self, scope: str, tokens: int = 1) -> None:
        """Take tokens from a bucket that all processes share, or put the job off.

        A snoozed job leaves its slot, comes back when it is its turn and begins
        anew, so call this before the work. The attempt is not counted, and its queue
        goes on.

        Args:
            scope: The bucket, made by :meth:`ForgeJobs.rate_limit` or by the API.
            tokens: How many, 1 to the bucket's capacity.

        Raises:
            Snooze: There are too few at present; let it through.
            RateLimitNotFoundError: No bucket has this scope.
            InvalidInputError: The bucket can never hold so many.
            StorageError: The database could not be asked.
        """
        taken = self.rate_limits.take_turn(
            scope, tokens, has_waited=self.throttle_attempts > 0
        )
        if not taken.is_granted:
            raise Snooze(taken.retry_after_s)

    def drain_rate_limit(self, scope: str, pause_s: float = 0.0) -> None:
        """Empty a bucket for all processes, as after a refusal by what it protects.

        Args:
            scope: The bucket.
            pause_s: Seconds before it begins to refill, 0 to 86400, such as the
                ``Retry-After`` of an answer.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
            InvalidInputError: The pause is outside its bounds.
            StorageError: The database could not be asked.
        """
        self.rate_limits.drain(scope, pause_s)


def enter(context: TaskContext) -> Callable[[], None]:
    """Make a context the current one; return the function that ends it."""
    token = _current.set(context)
    return lambda: _current.reset(token)


entered_context: Callable[[], TaskContext | None] = partial(_current.get, None)
"""Returns the context of the task that runs in this thread, or None."""


def running_context() -> TaskContext:
    """Return the context of the task that runs in this thread.

    Raises:
        RuntimeError: No task does.
    """
    context = entered_context()
    if context is None:
        raise RuntimeError("no task is running here, so there is no context")
    return context


class _CurrentJob:
    """Stands for the context of the task that runs in this thread."""

    def __getattr__(self, name: str) -> Any:
        """Read an attribute of the current context."""
        return getattr(running_context(), name)

    def __bool__(self) -> bool:
        """Whether a task runs in this thread."""
        return _current.get(None) is not None

    def __repr__(self) -> str:
        """Name the job, or say that there is none."""
        context = _current.get(None)
        return f"<current_job {context.job_id if context else 'none'}>"


current_job: TaskContext = _CurrentJob()  # type: ignore[assignment]  # a proxy for one
