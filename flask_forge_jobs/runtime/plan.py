"""What one worker process runs: the noun behind :class:`.QueueRuntime`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.runtime.execution import (
    Report,
    Runner,
    TaskScope,
    keep_progress,
)
from flask_forge_jobs.runtime.isolation import check_isolation
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.limits import ConcurrencyLimits
from flask_forge_jobs.tasks.context import Dispose, EnqueueJob
from flask_forge_jobs.tasks.failures import Mask, forget_frames, mask_known
from flask_forge_jobs.tasks.observer import NOBODY, Observer
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import Router

DEFAULT_THREADS = 8
DEFAULT_LEASE_S = 60.0
DEFAULT_CANCEL_GRACE_S = 10.0


@dataclass(slots=True, kw_only=True)
class RuntimePlan:
    """Everything that a worker process is made of; see :class:`.QueueRuntime`.

    Args:
        storage: The stores.
        registry: Kind to task.
        threads: Most jobs at once in this process.
        scope: Opened around each run, such as an application context.
        lease_s: Seconds of silence after which other processes take over.
        cancel_grace_s: Seconds between a task's time limit and the loss of its slot.
        clock: Source of time.
        ids: Mints the id of this process.
        jitter: Returns a number in [0, 1) that spreads retries; None spreads nothing.
        router: Names the queue of a kind for jobs and cron schedules that name none.
        queue_names: The queues to serve.
        worker_name: A label for this process.
        parent_pid: The process that has to be the parent for this one to claim; None
            means any.
        application: Whose schedules the registry holds; None declares none.
        task_command: Starts a process for tasks that want one of their own.
        mask: Masks the secrets in what a task raises.
        observer: Hears of jobs and of the worker.
    """

    storage: Storage
    registry: TaskRegistry
    threads: int
    scope: TaskScope
    lease_s: float
    cancel_grace_s: float
    clock: Clock
    ids: UlidGenerator
    jitter: Callable[[], float] | None
    router: Router
    queue_names: tuple[str, ...] = ()
    worker_name: str | None = None
    parent_pid: int | None = None
    application: str | None = None
    task_command: tuple[str, ...] = ()
    mask: Mask = mask_known
    observer: Observer = NOBODY

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store a job, in the queue that the router names if it names none itself.

        Raises:
            InvalidInputError: The router's answer is no name of a queue.
            StorageError: And the others of :meth:`.JobQueue.enqueue`.
        """
        result = self.storage.jobs.enqueue(job.routed(self.router))
        self.observer.enqueued((result,))
        return result

    def check(self) -> None:
        """Check what was declared, before anything is stored.

        Raises:
            ConfigurationError: No queue is declared, or a task wants a process of its
                own and nobody has said how to start one.
            InvalidInputError: A queue's name is not allowed.
        """
        if not self.queue_names:
            raise ConfigurationError("queues", "declare at least one queue")
        for name in self.queue_names:
            check_queue_name(name)
        check_isolation(self.registry, self.task_command)

    def runner(
        self,
        registry: TaskRegistry,
        worker_id: str,
        *,
        concurrency: ConcurrencyLimits | None,
        report: Report = keep_progress,
        enqueue: EnqueueJob | None = None,
        dispose: Dispose = forget_frames,
    ) -> Runner:
        """Return what runs the tasks of a registry; see :class:`.Runner`."""
        return Runner(
            registry,
            scope=self.scope,
            worker_id=worker_id,
            clock=self.clock,
            enqueue=enqueue or self.enqueue,
            rate_limits=self.storage.rate_limits,
            concurrency=concurrency,
            mask=self.mask,
            report=report,
            dispose=dispose,
            observer=self.observer,
        )
