"""The context of a task that is called where no worker runs it."""

from __future__ import annotations

from typing import Any

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.storage.limits import RateLimits
from flask_forge_jobs.tasks.cancellation import CancelToken
from flask_forge_jobs.tasks.context import EnqueueJob, ProgressSink, TaskContext
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.routing import Router

NO_WORKER = "none"


class DirectCalls:
    """Makes contexts for calls of tasks in views, shells and tests.

    Args:
        clock: Tells how much of the time limit is left.
        router: Names the queue of a task that has none.
        enqueue: Stores a follow-up job.
        rate_limits: The token buckets.
    """

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
    ) -> TaskContext:
        """Return a context with an id that no stored job has.

        Args:
            task: What is called.
            attempt: Which attempt it is, from 1.
            max_attempts: Most attempts; the task's by default.
            progress_sink: Takes the JSON text of progress reports; drops them by
                default.
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
        )
