"""Contexts for tasks that are called like functions, in views, shells and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.tasks.cancellation import CancelToken
from flask_forge_jobs.tasks.context import EnqueueJob, ProgressSink, TaskContext
from flask_forge_jobs.tasks.steps import NOT_KEPT, KeepsSteps

if TYPE_CHECKING:
    from flask_forge_jobs.clock import Clock
    from flask_forge_jobs.storage.limits import RateLimits
    from flask_forge_jobs.tasks.decorator import Task
    from flask_forge_jobs.tasks.routing import Router

NO_WORKER = "none"  # the worker of a task that is called


class DirectCalls:
    """Makes contexts for calls of tasks in views, shells and tests."""

    def __init__(
        self,
        *,
        clock: Clock,
        router: Router,
        enqueue: EnqueueJob,
        rate_limits: RateLimits,
    ) -> None:
        self._clock = clock
        self._router = router
        self._enqueue = enqueue
        self._rate_limits = rate_limits
        self._ids = UlidGenerator(clock)

    def context(
        self,
        task: Task[..., Any],
        *,
        attempt: int = 1,
        max_attempts: int | None = None,
        progress_sink: ProgressSink = lambda _: None,
        keeper: KeepsSteps = NOT_KEPT,
    ) -> TaskContext:
        """Return a context with a new id.

        By default it drops progress reports and keeps no step.
        """
        limit_s = task.timeout_s
        return TaskContext(
            job_id=self._ids.new(),
            kind=task.kind,
            queue_name=task.defaults.queue or self._router(task.kind),
            attempt=attempt,
            max_attempts=max_attempts or task.defaults.max_attempts,
            worker_id=NO_WORKER,
            cancel=CancelToken(),
            deadline=None if limit_s is None else self._clock.monotonic() + limit_s,
            clock=self._clock,
            enqueue_job=self._enqueue,
            progress_sink=progress_sink,
            rate_limits=self._rate_limits,
            keeper=keeper,
        )
