"""Execution: one job between its claim and its end, on one slot thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import lru_cache, partial
from types import MappingProxyType

from flask_forge_jobs import forks
from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import InvalidInputError, StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.attempts import RunSpan
from flask_forge_jobs.model.claims import ClaimedJob
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.limits import ConcurrencyLimit, concurrency_wait_s
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.masking import Mask
from flask_forge_jobs.model.outcomes import (
    Dead,
    Done,
    Failed,
    Outcome,
    Postponed,
    Snooze,
    Throttled,
)
from flask_forge_jobs.model.progress import ProgressMeter
from flask_forge_jobs.runtime.run.observer import NOBODY, Observer
from flask_forge_jobs.runtime.run.run_log import (
    LogSettings,
    Reports,
    logged_run,
    reports_of,
)
from flask_forge_jobs.storage.limits import ConcurrencyLimits, RateLimits
from flask_forge_jobs.tasks.batches import BatchHome
from flask_forge_jobs.tasks.cancellation import CancelToken
from flask_forge_jobs.tasks.context import Dispose, TaskContext, enter
from flask_forge_jobs.tasks.failures import (
    describe_failure,
    fit,
    forget_frames,
    mask_known,
    trace_of,
)
from flask_forge_jobs.tasks.registry import Runnable, TaskRegistry
from flask_forge_jobs.tasks.steps import NOT_KEPT, KeepsSteps

logger = get_logger(__name__)

MISSING_TASK_WAIT_S = 60.0  # the longest snooze of a job whose task is missing
WARN_PERIOD_S = 60.0  # between two warnings of a missing task, per kind
MAX_WARNED = 1000  # kinds to remember, which are any text
_NOTHING: Mapping[str, str] = MappingProxyType({})

TaskScope = Callable[[], AbstractContextManager[object]]


@dataclass(slots=True)
class Execution:
    """A claimed job in a worker.

    Times are monotonic seconds: ``started_at`` is 0.0 until a slot is free,
    ``ended_at`` until the run ends or is abandoned. The heartbeat sets
    ``is_start_counted`` on a long run, for the metrics; a short one is counted when it
    ends. ``reports`` has what the task has reported or logged, if anything.
    """

    job: ClaimedJob
    claimed_at: float
    token: CancelToken = field(default_factory=CancelToken)
    timeout_s: float | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    is_start_counted: bool = False
    slot: int = -1
    reports: Reports | None = None
    concurrency_key: str | None = None

    @property
    def span(self) -> RunSpan | None:
        """When and where it ran, which has ended; None if no slot was free."""
        if not self.started_at:
            return None
        claimed_us = self.job.claimed_at_us
        return RunSpan(
            claimed_us + int((self.started_at - self.claimed_at) * SECOND_US),
            claimed_us + int((self.ended_at - self.claimed_at) * SECOND_US),
            self.slot,
        )

    @property
    def progress(self) -> ProgressMeter | None:
        """What the task has reported of its progress, if it has reported anything."""
        return None if self.reports is None else self.reports.progress

    @property
    def stops_at(self) -> float | None:
        """When the run has to end, or None without a time limit."""
        return None if self.timeout_s is None else self.started_at + self.timeout_s

    @property
    def wait_us(self) -> int:
        """How long the job waited between its due time and the start of the run."""
        due_for_us = self.job.claimed_at_us - self.job.scheduled_at_us
        return due_for_us + int((self.started_at - self.claimed_at) * SECOND_US)


# Takes a run, the JSON text of its report, and the instant of it.
Report = Callable[[Execution, str, int], None]


def keep_progress(execution: Execution, text: str, at_us: int) -> None:
    """Keep a progress report for the next heartbeat."""
    reports_of(execution).progress.keep(text, at_us)


@dataclass(frozen=True, slots=True)
class TaskEnvironment:
    """The objects that all runs of a worker share."""

    worker_id: str
    clock: Clock
    enqueue: Callable[[NewJob], EnqueueResult]
    rate_limits: RateLimits
    mask: Mask = mask_known
    keeper: KeepsSteps = NOT_KEPT
    home: BatchHome | None = None


@dataclass(eq=False)
class Runner:
    """Runs executions.

    ``concurrency`` is None in the process of an isolated task, whose jobs the worker
    has admitted. ``dispose`` gets each exception once its text is stored. Without
    ``log_settings``, no line that a task logs is kept.
    """

    registry: TaskRegistry
    _: KW_ONLY
    environment: TaskEnvironment
    scope: TaskScope
    concurrency: ConcurrencyLimits | None
    report: Report = keep_progress
    dispose: Dispose = forget_frames
    observer: Observer = NOBODY
    log_settings: LogSettings | None = None
    _warned_at: dict[str, float] = field(default_factory=dict, init=False)

    def timeout_of(self, job: ClaimedJob) -> float | None:
        """Return the time limit in seconds: the job's own, else the task's."""
        if job.timeout_s is not None:
            return job.timeout_s
        task = self.registry.get(job.kind)
        return None if task is None else task.timeout_s

    def stop_limit_s(self, job: ClaimedJob) -> float:
        """Return how long an isolated task takes at most to stop, else 0."""
        task = self.registry.get(job.kind)
        return float(getattr(task, "stop_limit_s", 0.0))

    def run(self, execution: Execution) -> Outcome:
        """Run the task of a job and return its outcome; never raises."""
        try:
            return _checked(self._run(execution), self.environment.mask)
        except BaseException as error:  # noqa: BLE001  # must not end the worker
            trace = trace_of(error, self.environment.mask)
            logger.error("job %s could not be run: %s", execution.job.id, trace)  # noqa: TRY400
            failed = Failed(fit(describe_failure(error), self.environment.mask))
            self.dispose(error)
            return failed

    def _run(self, execution: Execution) -> object:
        job = execution.job
        task = self.registry.get(job.kind)
        if task is None:
            return self._missing(job)
        if task.concurrency is not None and self.concurrency is not None:
            snoozed = self._acquire(self.concurrency, task, task.concurrency, execution)
            if snoozed is not None:
                return snoozed
        outcome: object = None
        process = forks.PID[0]
        context = self._context(execution)
        leave = enter(context)
        try:
            with self.scope():
                try:
                    outcome = self.observer.run(task, context, job)
                finally:
                    if forks.PID[0] != process:
                        forks.end_child(job.id)
        except BaseException as error:  # noqa: BLE001  # from the scope, not the task
            trace = trace_of(error, self.environment.mask)
            logger.error("the context of job %s failed: %s", job.id, trace)  # noqa: TRY400
            if outcome is None:  # otherwise the task has ended and only clean-up failed
                outcome = Failed(describe_failure(error))
            self.dispose(error)
        finally:
            leave()
        return outcome

    def _context(self, execution: Execution) -> TaskContext:
        job, environment, settings = execution.job, self.environment, self.log_settings
        return TaskContext(
            job_id=job.id,
            kind=job.kind,
            queue_name=job.queue_name,
            attempt=job.attempts,
            max_attempts=job.max_attempts,
            worker_id=environment.worker_id,
            cancel=execution.token,
            deadline=execution.stops_at,
            clock=environment.clock,
            enqueue_job=environment.enqueue,
            progress_sink=partial(self._report, execution),
            rate_limits=environment.rate_limits,
            throttle_attempts=job.throttle_attempts,
            carried=_NOTHING if job.carried is None else _carried(job.carried),
            mask=environment.mask,
            dispose=self.dispose,
            home=environment.home,
            # A job that runs inline logs for the run around it.
            logged_run=logged_run() if settings is None else (execution, settings),
            keeper=environment.keeper,
            run=execution,
        )

    def _report(self, execution: Execution, text: str) -> None:
        self.report(execution, text, self.environment.clock.now_us())

    def _acquire(
        self,
        concurrency: ConcurrencyLimits,
        task: Runnable,
        limit: ConcurrencyLimit,
        execution: Execution,
    ) -> Postponed | None:
        """Take the job's place in a concurrency limit; snooze if none is free."""
        job = execution.job
        try:
            key = limit.key_of(task.kind, job.payload)  # the same for an alias
            if concurrency.acquire(
                job, self.environment.worker_id, key, limit.max_concurrent
            ):
                execution.concurrency_key = key
                return None
        except InvalidInputError:
            return None  # the task reports the fault of the payload
        except StorageError as error:
            execution.concurrency_key = key  # it may have a place, which it gives back
            logger.warning(
                "job %s waits, because its limit could not be read: %s", job.id, error
            )
        return Postponed(concurrency_wait_s(job.throttle_attempts))

    def _missing(self, job: ClaimedJob) -> Postponed:
        """Snooze a job whose task is missing here, at first briefly.

        Most likely a deploy is in progress and another worker has the task.
        """
        message = f"no task registered for kind: {job.kind}"
        now = self.environment.clock.monotonic()
        if now - self._warned_at.get(job.kind, -WARN_PERIOD_S) >= WARN_PERIOD_S:
            if len(self._warned_at) >= MAX_WARNED:
                self._warned_at.clear()
            self._warned_at[job.kind] = now
            logger.warning("%s; its jobs wait", one_line(message))
        wait_s = min(2.0 ** min(job.throttle_attempts, 30), MISSING_TASK_WAIT_S)
        return Postponed(wait_s, fit(message, self.environment.mask))


# Jobs of one origin mostly carry the same text.
@lru_cache(maxsize=256)
def _carried(text: str) -> Mapping[str, str]:
    return MappingProxyType(json.loads(text))


def _checked(outcome: object, mask: Mask) -> Outcome:
    """Return an outcome that can be stored.

    Outcomes are stored in batches, so a bad one from a custom task would block others.
    """
    if isinstance(outcome, Done):
        # SQLite would store half of a surrogate pair. Tasks of ours return ASCII.
        if outcome.result is not None and not outcome.result.isascii():
            outcome.result.encode()
        return outcome
    if isinstance(outcome, Failed):
        trace = outcome.traceback and mask(outcome.traceback)
        return replace(outcome, message=fit(outcome.message, mask), traceback=trace)
    if isinstance(outcome, Dead):
        trace = getattr(outcome, "traceback", None)  # a subclass may not set it
        return Dead(fit(outcome.message, mask), trace and mask(trace))
    if isinstance(outcome, Throttled):  # a subclass may not call our __init__
        reason = getattr(outcome, "reason", None)
        reason = None if reason is None else fit(reason, mask)
        if isinstance(outcome, Snooze):
            kind = Postponed if isinstance(outcome, Postponed) else Snooze
            return kind(outcome.retry_after_s, reason)
        return Throttled(outcome.retry_after_s, scope=outcome.scope, reason=reason)
    if isinstance(outcome, Outcome):
        return outcome
    return Failed(f"the task returned a {type(outcome).__name__}, not an outcome")
