"""TaskContext: a running task reads its job here, and is asked to stop.

Cancellation is cooperative: a long task checks its token about once a second, and waits
for it instead of sleeping.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, overload

from flask_forge_jobs.errors import RateLimitNotFoundError
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.limits import waits_for_rate_limit
from flask_forge_jobs.model.outcomes import MAX_PROGRESS_BYTES, Snooze
from flask_forge_jobs.model.payloads import dump
from flask_forge_jobs.model.progress import checked_report
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.tasks.batches import BatchHandle, BatchHome, ParentJob
from flask_forge_jobs.tasks.cancellation import CancelledError, CancelToken
from flask_forge_jobs.tasks.failures import forget_frames, mask_known
from flask_forge_jobs.tasks.other_words import OF_CONTEXTS, teach
from flask_forge_jobs.tasks.steps import NOT_KEPT, KeepsSteps, StepsOfRun

if TYPE_CHECKING:
    from flask_forge_jobs.clock import Clock
    from flask_forge_jobs.model.masking import Mask
    from flask_forge_jobs.storage.limits import RateLimits

P = ParamSpec("P")
R = TypeVar("R")
EnqueueJob = Callable[[NewJob], EnqueueResult]
ProgressSink = Callable[[str], None]
Dispose = Callable[[BaseException], object]

_current: ContextVar[TaskContext] = ContextVar("forge_jobs_current_job")


# Not frozen, because each run makes one, and that would take three times as long.
@dataclass(slots=True, eq=False, repr=False)
class TaskContext:
    """The running job; also available as :data:`current_job`.

    A task whose first parameter is annotated with it receives it::

        @forge.task
        def import_rows(context: TaskContext, path: str) -> None:
            rows = read(path)
            for done, row in enumerate(rows, 1):
                save(row)
                context.progress(done, len(rows))  # also stops a cancelled job

    Attributes:
        job_id: The id of the job.
        kind: Its kind.
        queue_name: Its queue.
        attempt: The number of this attempt, from 1.
        max_attempts: Most attempts.
        worker_id: The worker process.
        cancel: Trips when the task should stop.
        deadline: When the time limit ends, in seconds of ``clock.monotonic()``; None
            without a limit.
        carried: ``request_id``, ``traceparent`` and ``tracestate`` of the request or
            the job that enqueued this one, and its ``origin``, as :attr:`.Job.origin`.
        throttle_attempts: How often in a row the job was throttled or snoozed; from 10
            on snoozes do not count.
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
    # Gets the exception of the task once its text is stored.
    dispose: Dispose = forget_frames
    # The worker's run whose lines are kept; None keeps none.
    logged_run: Any = None
    home: BatchHome | None = None
    _batch: BatchHandle | None = field(default=None, init=False, repr=False)
    # Keeps steps and checkpoints of the run, which it knows by this object.
    keeper: KeepsSteps = NOT_KEPT
    run: Any = None
    _steps: StepsOfRun | None = field(default=None, init=False)

    def __repr__(self) -> str:
        attempts = f"attempt {self.attempt} of {self.max_attempts}"
        return f"<TaskContext {self.kind} {self.job_id}, {attempts}>"

    @property
    def parents(self) -> tuple[ParentJob, ...]:
        """The jobs and batches for which this one has waited, in the order of ids.

        Their results are kept for as long as this job. One read of the database.
        """
        if self.home is None:
            return ()
        parents = self.home.storage.links.parents_of(self.job_id)
        return tuple(map(ParentJob.of, parents))

    @property
    def batch(self) -> BatchHandle:
        """The batch of this job; jobs that it adds keep the batch from ending.

        Raises:
            RuntimeError: The job has no batch.
        """
        if self._batch is None:
            batch_id = None
            if self.home is not None:
                batch_id = self.home.storage.job_reader.get(self.job_id).batch_id
            if self.home is None or batch_id is None:
                raise RuntimeError(f"job {self.job_id} ({self.kind}) has no batch")
            self._batch = BatchHandle(self.home, batch_id)
        return self._batch

    @property
    def is_last_attempt(self) -> bool:
        """Whether the job ends if this attempt fails."""
        return self.attempt >= self.max_attempts

    def seconds_left(self) -> float | None:
        """Return the seconds until the time limit, at least 0; None without a limit."""
        if self.deadline is None:
            return None
        return max(self.deadline - self.clock.monotonic(), 0.0)

    def set_progress(self, value: object) -> None:
        """Report progress in a form of your own; see :meth:`progress`.

        Args:
            value: Any JSON value of at most 1 KiB.

        Raises:
            InvalidInputError: The value is not JSON or too large.
        """
        self.progress_sink(dump(value, "progress", MAX_PROGRESS_BYTES))

    def progress(
        self, done: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Report progress, visible within about a second; stop here if cancelled.

        The report is ``{"done": 3, "total": 10, "message": "…"}``, without the keys
        that are None, of at most 1 KiB. The worker adds when it was made, and how much
        was done per second since a report before.

        Args:
            done: How much is done, in any unit.
            total: How much there is to do, in the same unit; None if unknown.
            message: A text for waiting users.

        Raises:
            CancelledError: The task should stop; do not catch it.
            InvalidInputError: A number is not finite, the total is negative, the
                message is not text, or the report is too long.
        """
        self.check()
        self.set_progress(checked_report(done, total, message))

    def check(self) -> None:
        """Stop here if the job was cancelled, ran out of time, or the worker stops.

        Raises:
            CancelledError: The task should stop; do not catch it. The worker ends the
                job, or gives it back at a shutdown.
        """
        self.cancel.raise_if_cancelled()

    def sleep(self, seconds: float) -> None:
        """Sleep for a number of seconds, and stop at once if cancelled.

        Raises:
            CancelledError: The task should stop; do not catch it.
        """
        self.cancel.wait(seconds)
        self.check()

    @overload
    def step(
        self,
        name: str,
        function: Callable[P, Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Coroutine[Any, Any, R]: ...

    @overload
    def step(
        self, name: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...

    def step(
        self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Call a function once for the job, and keep its result for later runs.

        A run after a retry, a rescue or a snooze does not call the function again: it
        gets the result that is stored. If it was not stored, because the function
        raised or the worker died, the function is called again. Stops here if the job
        was cancelled::

            page = context.step("fetch", download, url)
            context.step("store", store, page)

        Args:
            name: Identifies the step within the job: 1 to 128 characters, the same in
                each run, and used once in each.
            function: What to call. Of an ``async`` one, await the step.
            args: Its arguments, which are not stored.
            kwargs: The same, by name.

        Returns:
            The result after a trip through JSON, in the first run, too: a tuple comes
            back as a list.

        Raises:
            CancelledError: The task should stop; do not catch it.
            InvalidInputError: The name is not text of this length, or this run has used
                it; the result is not JSON or has over 64 KiB; or the job has 1,000
                steps.
            StorageError: The result could not be stored, or that is unknown. The same
                step, tried again in this run, stores it without calling the function.
        """
        self.check()
        return self._opened_steps().call(name, function, args, kwargs)

    def save(self, value: object) -> None:
        """Keep a value for the next run, instead of the last one; stop if cancelled.

        It is stored within about a second, and with the end of the run. If the worker
        dies before, the next run gets an earlier one.

        Args:
            value: Any JSON value of at most 64 KiB, such as the place to go on at.

        Raises:
            CancelledError: The task should stop; do not catch it.
            InvalidInputError: The value is not JSON or too large.
        """
        self._opened_steps().save(value)
        self.check()

    @property
    def checkpoint(self) -> Any:
        """The value that this run, or else an earlier one, has saved last, or None.

        Reads the database once, and not in the first run of a job; raises StorageError.
        """
        return self._opened_steps().checkpoint

    def _opened_steps(self) -> StepsOfRun:
        if self._steps is None:
            self._steps = StepsOfRun(self.keeper, self.run, self._stop_lost)
        return self._steps

    def _stop_lost(self) -> NoReturn:
        self.cancel.cancel(CancelReason.LOST)
        raise CancelledError(CancelReason.LOST)

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store a follow-up job; errors as for :meth:`QueueRuntime.enqueue`."""
        return self.enqueue_job(job)

    def rate_limit(self, scope: str, tokens: int = 1) -> None:
        """Take tokens from a bucket that all processes share, or snooze the job.

        Call this before the work: a snoozed job frees its slot and starts from the
        beginning when tokens are available. The attempt does not count.

        Args:
            scope: A bucket of :meth:`ForgeJobs.rate_limit` or of the API.
            tokens: How many, 1 to the bucket's capacity; default 1.

        Raises:
            Snooze: The bucket has too few tokens; do not catch it.
            RateLimitNotFoundError: No bucket has this scope.
            InvalidInputError: The bucket can never hold that many.
            StorageError: The database could not be used.
        """
        try:
            taken = self.rate_limits.take_turn(
                scope, tokens, has_waited=self.throttle_attempts > 0
            )
        except RateLimitNotFoundError:
            advice = "; declare it with forge.rate_limit() and restart the worker"
            raise RateLimitNotFoundError(scope, advice) from None
        if not taken.is_granted:
            raise Snooze(taken.retry_after_s, waits_for_rate_limit(scope))

    def drain_rate_limit(self, scope: str, pause_s: float = 0.0) -> None:
        """Empty a bucket for all processes, for instance after a 429 response.

        Args:
            scope: The bucket.
            pause_s: Seconds until it refills, 0 to 86400, such as ``Retry-After``; a
                longer pause that is running stays.

        Raises:
            RateLimitNotFoundError: No bucket has this scope.
            InvalidInputError: The pause is out of bounds.
            StorageError: The database could not be used.
        """
        self.rate_limits.drain(scope, pause_s)


teach(TaskContext, OF_CONTEXTS)


def enter(context: TaskContext) -> Callable[[], None]:
    """Make a context the current one; return a function that undoes it."""
    return partial(_current.reset, _current.set(context))


entered_context: Callable[[], TaskContext | None] = partial(_current.get, None)
"""Returns the context of the task that runs in this thread, or None."""


def running_context() -> TaskContext:
    """Return the context of the running task; raise RuntimeError without one."""
    context = entered_context()
    if context is None:
        raise RuntimeError("no task is running here, so there is no context")
    return context


class _CurrentJob:
    """A proxy for the context of the running task."""

    def __getattr__(self, name: str) -> Any:
        return getattr(running_context(), name)

    def __bool__(self) -> bool:
        return _current.get(None) is not None

    def __repr__(self) -> str:
        context = _current.get(None)
        return f"<current_job {context.job_id if context else 'none'}>"


current_job: TaskContext = _CurrentJob()  # type: ignore[assignment]  # a proxy for one
