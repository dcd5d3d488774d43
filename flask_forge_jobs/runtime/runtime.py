"""QueueRuntime: what is said of a worker process before it starts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.queues import DEFAULT_MAX_WORKERS
from flask_forge_jobs.randomness import fraction
from flask_forge_jobs.runtime.execution import TaskScope
from flask_forge_jobs.runtime.greeting import greet
from flask_forge_jobs.runtime.handle import RuntimeHandle
from flask_forge_jobs.runtime.plan import (
    DEFAULT_CANCEL_GRACE_S,
    DEFAULT_LEASE_S,
    DEFAULT_THREADS,
    RuntimePlan,
)
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.decorator import Task
from flask_forge_jobs.tasks.failures import Mask, mask_known
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import DefaultRouter, Router

logger = get_logger(__name__)


class QueueRuntime:
    """What a worker process runs; configure it, then :meth:`start` it once.

    Args:
        storage: The stores.
        registry: Kind to task.
        threads: Most jobs at once in this process, 1 to 1024, default 8.
        scope: Opened around each run, such as an application context.
        lease_s: Seconds of silence after which other processes take over, default 60.
        cancel_grace_s: Seconds between a task's time limit and the loss of its slot,
            default 10.
        clock: Source of time.
        ids: Mints the id of this process.
        jitter: Returns a number in [0, 1) that spreads retries; None spreads nothing.
        router: Names the queue of a kind for jobs and cron schedules that name none;
            sends everything to ``default`` by default.
        mask: Masks the secrets in what a task raises before it is stored and logged;
            masks the keys of ``FORGE_JOBS_REDACT_DEFAULT_KEYS`` by default.
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
        mask: Mask = mask_known,
    ) -> None:
        clock = clock or SystemClock()
        self.plan = RuntimePlan(
            storage=storage,
            registry=registry,
            threads=threads,
            scope=scope,
            lease_s=lease_s,
            cancel_grace_s=cancel_grace_s,
            clock=clock,
            ids=ids or UlidGenerator(clock),
            jitter=jitter,
            router=DefaultRouter() if router is None else router,
            mask=mask,
        )
        self._has_started = False

    def with_queues(self, names: Iterable[str]) -> QueueRuntime:
        """Declare the queues to serve; blanks and repetitions are dropped."""
        stripped = (name.strip() for name in names)
        self.plan.queue_names = tuple(dict.fromkeys(name for name in stripped if name))
        return self

    def with_worker_name(self, name: str | None) -> QueueRuntime:
        """Set a label for this process; blank means none."""
        self.plan.worker_name = (name or "").strip() or None
        return self

    def with_parent(self, pid: int) -> QueueRuntime:
        """Claim only while this process is the parent."""
        self.plan.parent_pid = pid
        return self

    def with_schedules_of(self, application: str) -> QueueRuntime:
        """Bring the registry's schedules into the table at the start.

        Args:
            application: Whose they are; what it declared before and no longer does is
                deleted. See :meth:`.CronStorage.declare`.
        """
        self.plan.application = application
        return self

    def with_task_command(self, command: Sequence[str]) -> QueueRuntime:
        """Set the command that starts a process for tasks that want one of their own.

        Args:
            command: Ends in :func:`~.task_child.serve_tasks` with the same tasks.
        """
        self.plan.task_command = tuple(command)
        return self

    def ensure_queue(self, name: str, max_workers: int = DEFAULT_MAX_WORKERS) -> bool:
        """Register a queue if it is not; return whether it is new."""
        return self.plan.storage.queues.ensure(name, max_workers)

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store a job, in the queue that the router names if it names none itself.

        Raises:
            InvalidInputError: The router's answer is no name of a queue.
            StorageError: And the others of :meth:`.JobQueue.enqueue`.
        """
        return self.plan.enqueue(job)

    def start(self) -> RuntimeHandle:
        """Start serving the declared queues.

        Raises:
            ConfigurationError: No queue is declared, or the runtime was started before.
            InvalidInputError: A queue's name is not allowed; nothing was registered.
            StorageError: The database cannot be used.
        """
        if self._has_started:
            raise ConfigurationError("runtime", "was started before; make a new one")
        self.plan.check()
        self._has_started = True
        try:
            self.plan.storage.open()
            for name in self.plan.queue_names:
                self.ensure_queue(name)
            greet(self.plan)
            self.declare()
            handle = RuntimeHandle(self.plan)
            handle.start()
        except BaseException:
            self._has_started = False
            raise
        return handle

    def declare(self) -> None:
        """Bring into the tables what the code says: schedules, limits, follow-ups.

        Raises:
            StorageError: What was not written stays as it was.
        """
        self._declare_schedules()
        self._declare_rate_limits()
        self._declare_follow_ups()

    def _declare_follow_ups(self) -> None:
        plan = self.plan
        if plan.application is None:
            return
        tasks = {kind: plan.registry.get(kind) for kind in plan.registry.kinds()}
        plan.storage.follow_ups.declare(
            plan.application,
            {
                kind: task.follow_ups
                for kind, task in tasks.items()
                if isinstance(task, Task)
            },
        )

    def _declare_schedules(self) -> None:
        if self.plan.application is None:
            return
        report = self.plan.storage.cron.declare(
            self.plan.application, self.plan.registry.schedules()
        )
        for verb in ("added", "changed", "removed"):
            names = getattr(report, verb)
            if names:
                logger.info("cron schedules %s: %s", verb, ", ".join(names))
        for name, reason in report.refused:
            logger.warning("cron schedule %s is not used: %s", name, reason)

    def _declare_rate_limits(self) -> None:
        for definition in self.plan.registry.rate_limits():
            if self.plan.storage.rate_limits.declare(definition):
                logger.info("rate limit set as declared: %s", definition)
