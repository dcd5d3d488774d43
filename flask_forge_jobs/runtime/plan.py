"""RuntimePlan: the configuration of a worker process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.bounds import check_queue_name, check_text
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.masking import Mask
from flask_forge_jobs.runtime.run.execution import (
    Report,
    Runner,
    TaskEnvironment,
    TaskScope,
    keep_progress,
)
from flask_forge_jobs.runtime.run.isolation import check_isolation
from flask_forge_jobs.runtime.run.observer import NOBODY, Observer
from flask_forge_jobs.runtime.run.run_log import LogSettings
from flask_forge_jobs.runtime.run.steps import (
    SaveCheckpoint,
    StoredSteps,
    keep_checkpoint,
)
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.batches import OPEN_S
from flask_forge_jobs.storage.limits import ConcurrencyLimits
from flask_forge_jobs.tasks.batches import BatchHome
from flask_forge_jobs.tasks.context import Dispose, EnqueueJob
from flask_forge_jobs.tasks.failures import forget_frames
from flask_forge_jobs.tasks.registry import TaskRegistry
from flask_forge_jobs.tasks.routing import Router

DEFAULT_THREADS = 8
# As long as a host name, which many workers are called by.
WORKER_NAME_LENGTH = 255
DEFAULT_LEASE_S = 60.0
DEFAULT_CANCEL_GRACE_S = 10.0


@dataclass(slots=True, kw_only=True)
class WorkerOptions:
    """The configuration of a worker process; see :class:`.QueueRuntime`.

    The process claims only while ``parent_pid`` is its parent, if that is given.
    ``application`` owns the schedules of the registry; None declares none. It keeps the
    lines that tasks log at ``log_level`` or above, none if that is None.
    """

    threads: int
    lease_s: float
    cancel_grace_s: float
    queue_names: tuple[str, ...] = ()
    name: str | None = None
    parent_pid: int | None = None
    application: str | None = None
    task_command: tuple[str, ...] = ()
    log_level: int | None = logging.INFO
    log_prints: bool = False


@dataclass(frozen=True, slots=True)
class PlainHome:
    """The batches of a worker without an application."""

    plan: RuntimePlan

    @property
    def storage(self) -> Storage:
        """The stores."""
        return self.plan.storage

    @property
    def batch_open_s(self) -> float:
        """How long a batch stays open to which nothing is added."""
        return OPEN_S

    def status_url(self, job_id: str, expires_in_s: float) -> str:
        """Raise an error: there is no application to answer it."""
        del job_id, expires_in_s
        raise RuntimeError("a link to a job needs an application")

    def prepared(self, job: NewJob) -> NewJob:
        """Return a job with a queue."""
        return job.routed(self.plan.router)

    def added(
        self, results: Sequence[EnqueueResult], batch_id: str, *, may_run: bool
    ) -> None:
        """Tell the observer of new jobs."""
        del batch_id, may_run
        self.plan.observer.enqueued(results)


@dataclass(slots=True, kw_only=True)
class RuntimePlan:
    """The configuration of all that runs jobs; see :class:`.QueueRuntime`."""

    storage: Storage
    registry: TaskRegistry
    scope: TaskScope
    clock: Clock
    ids: UlidGenerator
    jitter: Callable[[], float] | None
    router: Router
    worker: WorkerOptions
    observer: Observer = NOBODY
    home: BatchHome | None = None

    @property
    def batch_home(self) -> BatchHome:
        """The application of the batches."""
        return self.home or PlainHome(self)

    @property
    def mask(self) -> Mask:
        """Masks secrets in texts to log, as the storage masks them."""
        return self.storage.masking.text

    @property
    def log_settings(self) -> LogSettings | None:
        """Which lines that tasks log are kept; None keeps none."""
        level = self.worker.log_level
        if level is None:
            return None
        return LogSettings(level, self.worker.log_prints, self.mask, self.clock)

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store a job; the router names the queue if the job does not."""
        result = self.storage.jobs.enqueue(job.routed(self.router))
        self.observer.enqueued((result,))
        return result

    def check(self) -> None:
        """Raise an error if queues, name or isolated tasks are not usable."""
        if not self.worker.queue_names:
            raise ConfigurationError("queues", "declare at least one queue")
        for name in self.worker.queue_names:
            check_queue_name(name)
        if self.worker.name is not None:
            check_text("worker name", self.worker.name, WORKER_NAME_LENGTH)
        check_isolation(self.registry, self.worker.task_command)

    def runner(
        self,
        registry: TaskRegistry,
        worker_id: str,
        *,
        concurrency: ConcurrencyLimits | None,
        report: Report = keep_progress,
        enqueue: EnqueueJob | None = None,
        dispose: Dispose = forget_frames,
        save_checkpoint: SaveCheckpoint = keep_checkpoint,
        log_settings: LogSettings | None = None,
    ) -> Runner:
        """Return a runner of the registry's tasks.

        It keeps lines that tasks log only within :func:`.capturing`.
        """
        return Runner(
            registry,
            environment=TaskEnvironment(
                worker_id,
                self.clock,
                enqueue or self.enqueue,
                self.storage.rate_limits,
                self.mask,
                StoredSteps(self.storage.steps, worker_id, save_checkpoint),
                self.batch_home,
            ),
            scope=self.scope,
            concurrency=concurrency,
            report=report,
            dispose=dispose,
            observer=self.observer,
            log_settings=log_settings,
        )
