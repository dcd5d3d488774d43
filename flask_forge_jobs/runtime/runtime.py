"""QueueRuntime: configures a worker process and starts it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.queues import DEFAULT_MAX_WORKERS
from flask_forge_jobs.randomness import fraction
from flask_forge_jobs.runtime.greeting import greet
from flask_forge_jobs.runtime.plan import (
    DEFAULT_CANCEL_GRACE_S,
    DEFAULT_LEASE_S,
    DEFAULT_THREADS,
    RuntimePlan,
    WorkerOptions,
)
from flask_forge_jobs.runtime.run.execution import TaskScope
from flask_forge_jobs.runtime.worker import RuntimeHandle
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import DefaultRouter, Router

logger = get_logger(__name__)


class QueueRuntime:
    """A worker process: configure it, then :meth:`start` it once.

    For example::

        runtime = QueueRuntime(storage, registry).with_queues(["default"])
        handle = runtime.start()
        ...
        handle.shutdown_graceful(timeout_s=20)

    Args:
        storage: The stores.
        registry: The tasks.
        threads: Most jobs at once in this process, 1 to 1024, default 8.
        scope: Entered around each run, such as an application context.
        lease_s: Seconds of silence after which other workers take its jobs, default 60.
        cancel_grace_s: Seconds that a task gets to stop after its time limit, before
            its slot is freed; default 10.
        clock: Source of time; the system clock by default.
        ids: Makes the id of this worker.
        jitter: Returns a number in [0, 1) that spreads retries; None for no jitter.
        router: Names the queue of jobs and schedules that name none; by default
            ``default``.
    """

    def __init__(
        self,
        storage: Storage,
        registry: TaskRegistry,
        *,
        threads: int = DEFAULT_THREADS,
        scope: TaskScope = contextlib.nullcontext,
        lease_s: float = DEFAULT_LEASE_S,
        cancel_grace_s: float = DEFAULT_CANCEL_GRACE_S,
        clock: Clock | None = None,
        ids: UlidGenerator | None = None,
        jitter: Callable[[], float] | None = fraction,
        router: Router | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.plan = RuntimePlan(
            storage=storage,
            registry=registry,
            scope=scope,
            clock=clock,
            ids=ids or UlidGenerator(clock),
            jitter=jitter,
            router=DefaultRouter() if router is None else router,
            worker=WorkerOptions(
                threads=threads, lease_s=lease_s, cancel_grace_s=cancel_grace_s
            ),
        )
        self._has_started = False

    def with_queues(self, names: Iterable[str]) -> QueueRuntime:
        """Set the queues to serve; blank names and duplicates are dropped."""
        stripped = (name.strip() for name in names)
        self.plan.worker.queue_names = tuple(
            dict.fromkeys(name for name in stripped if name)
        )
        return self

    def with_worker_name(self, name: str | None) -> QueueRuntime:
        """Set the name of this worker; blank means none."""
        self.plan.worker.name = (name or "").strip() or None
        return self

    def with_parent(self, pid: int) -> QueueRuntime:
        """Claim jobs only while ``pid`` is the parent process."""
        self.plan.worker.parent_pid = pid
        return self

    def with_schedules_of(self, application: str) -> QueueRuntime:
        """Write the registry's schedules to the database at the start.

        Schedules that ``application`` declared before and no longer does are deleted.
        """
        self.plan.worker.application = application
        return self

    def with_task_command(self, command: Sequence[str]) -> QueueRuntime:
        """Set the command that starts a process for isolated tasks.

        It must call :func:`~.task_child.serve_tasks` with the same tasks.
        """
        self.plan.worker.task_command = tuple(command)
        return self

    def with_log_lines(
        self, level: int | None = logging.INFO, *, prints: bool = False
    ) -> QueueRuntime:
        """Set which lines that tasks log are kept with their jobs.

        Args:
            level: From this level on, default ``logging.INFO``; None keeps none.
            prints: Whether to keep what tasks print, too; default False.
        """
        self.plan.worker.log_level = level
        self.plan.worker.log_prints = prints
        return self

    def ensure_queue(self, name: str, max_workers: int = DEFAULT_MAX_WORKERS) -> bool:
        """Create a queue if it is missing; return whether it is new."""
        return self.plan.storage.queues.ensure(name, max_workers)

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store a job; the router names the queue if the job does not.

        Raises:
            InvalidInputError: The router's answer is not a valid queue name.
            StorageError: And the other errors of :meth:`.JobQueue.enqueue`.
        """
        return self.plan.enqueue(job)

    def start(self) -> RuntimeHandle:
        """Start to work the queues.

        Raises:
            ConfigurationError: There is no queue, an isolated task cannot get a
                process, or the runtime was started before.
            InvalidInputError: The name of a queue is not valid.
            StorageError: The database cannot be used.
        """
        if self._has_started:
            raise ConfigurationError("runtime", "was started before; make a new one")
        self.plan.check()
        self._has_started = True
        try:
            self.plan.storage.open()
            greet(self.plan, [*filter(self.ensure_queue, self.plan.worker.queue_names)])
            self.declare()
            handle = RuntimeHandle(self.plan)
            handle.start()
        except BaseException:
            self._has_started = False
            raise
        return handle

    def declare(self) -> None:
        """Write the schedules, rate limits and follow-ups of the code to the database.

        Raises:
            StorageError: The database cannot be used.
        """
        storage, registry = self.plan.storage, self.plan.registry
        application = self.plan.worker.application
        if application is not None:
            self._declare_schedules(application)
        for definition in registry.rate_limits():
            if storage.rate_limits.declare(definition):
                logger.info("rate limit set as declared: %s", definition)
        if application is not None:
            tasks = {kind: registry.get(kind) for kind in registry.kinds()}
            follow_ups = {
                kind: task.follow_ups
                for kind, task in tasks.items()
                if isinstance(task, Task)
            }
            storage.follow_ups.declare(application, follow_ups)

    def _declare_schedules(self, application: str) -> None:
        report = self.plan.storage.cron.declare(
            application, self.plan.registry.schedules()
        )
        for verb in ("added", "changed", "removed"):
            names = getattr(report, verb)
            if names:
                logger.info("cron schedules %s: %s", verb, ", ".join(names))
        for name, reason in report.refused:
            logger.warning("cron schedule %s is ignored: %s", name, reason)
