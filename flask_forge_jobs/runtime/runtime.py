"""QueueRuntime: starts the services of one worker process and stops them in order.

A stop has phases. First nothing more is claimed and what has not started goes back,
the attempt unspent. Running tasks get the grace to finish. Then they are asked to stop,
and what still has not ended is released under the owner fence, so another process runs
it again. The registry rows go last.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.errors import ConfigurationError, StorageError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.queues import DEFAULT_MAX_WORKERS
from flask_forge_jobs.runtime.dispatcher import Dispatcher
from flask_forge_jobs.runtime.execution import Execution, Runner, TaskScope
from flask_forge_jobs.runtime.heartbeat import Heartbeat
from flask_forge_jobs.runtime.metrics import MetricsUpkeep, Sampler
from flask_forge_jobs.runtime.reaper import Reaper
from flask_forge_jobs.runtime.service import Service
from flask_forge_jobs.runtime.settling import Settler
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.runtime.supervisor import Supervisor
from flask_forge_jobs.runtime.upkeep import Upkeep
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.tasks.cancellation import CancelReason
from flask_forge_jobs.tasks.registry import TaskRegistry

logger = logging.getLogger(__name__)

DEFAULT_THREADS = 8
DEFAULT_LEASE_S = 60.0
DEFAULT_SHUTDOWN_S = 5.0
DEFAULT_CANCEL_GRACE_S = 10.0
# How long tasks have to notice that the shutdown's grace is over.
LAST_CALL_S = 1.0
_LONGEST_WRITE_S = 10.0


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
        jitter: Callable[[], float] | None = random.random,
    ) -> None:
        self.storage = storage
        self.registry = registry
        self.threads = threads
        self.scope = scope
        self.lease_s = lease_s
        self.cancel_grace_s = cancel_grace_s
        self.clock = clock or SystemClock()
        self.ids = ids or UlidGenerator(self.clock)
        self.jitter = jitter
        self.queue_names: tuple[str, ...] = ()
        self.worker_name: str | None = None
        self.parent_pid: int | None = None
        self._has_started = False

    def with_queues(self, names: Iterable[str]) -> QueueRuntime:
        """Declare the queues to serve; blanks and repetitions are dropped."""
        stripped = (name.strip() for name in names)
        self.queue_names = tuple(dict.fromkeys(name for name in stripped if name))
        return self

    def with_worker_name(self, name: str | None) -> QueueRuntime:
        """Set a label for this process; blank means none."""
        self.worker_name = (name or "").strip() or None
        return self

    def with_parent(self, pid: int) -> QueueRuntime:
        """Claim only while this process is the parent."""
        self.parent_pid = pid
        return self

    def ensure_queue(self, name: str, max_workers: int = DEFAULT_MAX_WORKERS) -> bool:
        """Register a queue if it is not; return whether it is new."""
        return self.storage.queues.ensure(name, max_workers)

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store a job; see :meth:`JobQueue.enqueue`."""
        return self.storage.jobs.enqueue(job)

    def start(self) -> RuntimeHandle:
        """Start serving the declared queues.

        Raises:
            ConfigurationError: No queue is declared, or the runtime was started before.
            InvalidInputError: A queue's name is not allowed; nothing was registered.
            StorageError: The database cannot be used.
        """
        if self._has_started:
            raise ConfigurationError("runtime", "was started before; make a new one")
        self.check()
        self._has_started = True
        try:
            self.storage.open()
            for name in self.queue_names:
                self.ensure_queue(name)
            self._warn_of_missing_tasks()
            handle = RuntimeHandle(self)
            handle._start()  # noqa: SLF001  # the other half of this class
        except BaseException:
            self._has_started = False
            raise
        return handle

    def check(self) -> None:
        """Check what was declared, before anything is stored.

        Raises:
            ConfigurationError: No queue is declared.
            InvalidInputError: A queue's name is not allowed.
        """
        if not self.queue_names:
            raise ConfigurationError("queues", "declare at least one queue")
        for name in self.queue_names:
            check_queue_name(name)

    def _warn_of_missing_tasks(self) -> None:
        known = set(self.registry.kinds())
        for name in self.queue_names:
            missing = set(self.storage.job_reader.kinds(name)) - known
            if missing:
                kinds = ", ".join(sorted(missing))
                logger.warning("queue %s holds kinds without a task: %s", name, kinds)


class RuntimeHandle:
    """A running worker process; made by :meth:`QueueRuntime.start`."""

    def __init__(self, runtime: QueueRuntime) -> None:
        self.host_id = runtime.ids.new()
        self.storage = runtime.storage
        self._runtime = runtime
        self._clock = runtime.clock
        self._stopping = threading.Lock()
        self._all_ended: bool | None = None
        self._listener_is_pushing: Callable[[], bool] = lambda: False
        self._stop_listening: Callable[[], None] = lambda: None
        runner = Runner(
            runtime.registry,
            scope=runtime.scope,
            host_id=self.host_id,
            clock=runtime.clock,
            enqueue=runtime.enqueue,
        )
        self._pool = SlotPool(
            runtime.queue_names,
            threads=runtime.threads,
            runner=runner,
            host_id=self.host_id,
            clock=runtime.clock,
            on_ended=lambda: self._dispatcher.outcome_waits(),  # noqa: PLW0108  # made later
        )
        self._dispatcher = self._make_dispatcher()
        self._supervisor = self._make_supervisor()
        self._heartbeat = self._make_heartbeat()
        self._services: list[Service] = [
            self._supervisor,
            self._heartbeat,
            Reaper(
                self.storage.jobs,
                self.storage.processes,
                lease_s=runtime.lease_s,
                written_until=lambda: self._heartbeat.last_beat_at,
            ),
            Upkeep(self.storage.job_admin),
            Sampler(
                self.storage.samples,
                self.storage.recorder,
                host_id=self.host_id,
                directory=self.storage.database.directory or Path.cwd(),
                clock=runtime.clock,
            ),
            MetricsUpkeep(self.storage.metrics, self.storage.samples, runtime.clock),
        ]

    def _make_dispatcher(self) -> Dispatcher:
        runtime = self._runtime
        return Dispatcher(
            self.storage.jobs,
            self._pool,
            owner=self.host_id,
            queue_names=runtime.queue_names,
            settler=Settler(
                # Made after the dispatcher, which needs its settings.
                lambda name: self._supervisor.settings_of(name),  # noqa: PLW0108
                runtime.jitter,
            ),
            recorder=self.storage.recorder,
            clock=runtime.clock,
            cancel_grace_s=runtime.cancel_grace_s,
            is_pushing=lambda: self._listener_is_pushing(),  # noqa: PLW0108  # made later
            may_claim=self._may_claim,
        )

    def _make_supervisor(self) -> Supervisor:
        return Supervisor(
            self.storage.queues,
            self.storage.processes,
            self._pool,
            self._dispatcher,
            queue_names=self._runtime.queue_names,
            lease_s=self._runtime.lease_s,
            clock=self._clock,
        )

    def _make_heartbeat(self) -> Heartbeat:
        return Heartbeat(
            self.storage.jobs,
            self.storage.processes,
            self._pool,
            self._dispatcher,
            recorder=self.storage.recorder,
            host_id=self.host_id,
            worker_name=self._runtime.worker_name,
            queue_names=self._runtime.queue_names,
            lease_s=self._runtime.lease_s,
            clock=self._clock,
        )

    def _start(self) -> None:
        try:
            self._supervisor.tick()  # limits before the first claim
            self._heartbeat.tick()  # visible before the first claim
            listener = self.storage.database.listen(self._dispatcher.wake)
            self._listener_is_pushing = listener.is_pushing
            self._stop_listening = listener.stop
            self._dispatcher.start()
            for service in self._services:
                service.start()
        except BaseException:
            self.shutdown_graceful(0.0)  # whatever has started
            raise
        logger.info(
            "worker %s serves %s with up to %s threads",
            self.host_id,
            ", ".join(self._runtime.queue_names),
            self._runtime.threads,
        )

    def _may_claim(self) -> bool:
        parent = self._runtime.parent_pid
        if parent is not None and os.getppid() != parent:
            return False
        return self._heartbeat.is_fresh

    @property
    def abandoned_count(self) -> int:
        """Threads whose task ignored its time limit; they end with the process."""
        return self._pool.abandoned_count

    @property
    def is_stuck(self) -> bool:
        """Whether the heartbeat hangs or is gone, so that others take the jobs."""
        return self._heartbeat.is_stuck or not self._heartbeat.is_alive

    def running(self) -> list[Execution]:
        """Return the runs under way."""
        return self._pool.running()

    def request_cancel(self, job_id: str) -> bool:
        """Ask a job to stop if it runs in this process.

        Returns:
            Whether it was found running here. It ends ``dead`` unless it still
            succeeds.
        """
        for execution in self._pool.running():
            if execution.job.id == job_id:
                execution.token.cancel(CancelReason.USER)
                return True
        return False

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store a job; see :meth:`JobQueue.enqueue`."""
        return self._runtime.enqueue(job)

    def shutdown_graceful(self, timeout_s: float = DEFAULT_SHUTDOWN_S) -> bool:
        """Stop: finish what runs, give back the rest, leave no trace.

        A second call waits for the first one and returns the same.

        Args:
            timeout_s: Seconds that running tasks get before they are asked to stop.

        Returns:
            Whether every task ended by itself or stopped when asked.
        """
        with self._stopping:
            if self._all_ended is None:
                self._all_ended = self._stop(timeout_s)
            return self._all_ended

    def _stop(self, timeout_s: float) -> bool:
        self._dispatcher.stop_claiming()
        all_ended = self._pool.wait_until_quiet(timeout_s)
        if not all_ended:
            for execution in self._pool.running():
                execution.token.cancel(CancelReason.SHUTDOWN)
            all_ended = self._pool.wait_until_quiet(LAST_CALL_S)
            self._release_rest()
        if not self._dispatcher.finish(_LONGEST_WRITE_S):
            ids = ", ".join(sorted(self._dispatcher.unwritten_ids()))
            logger.error("not stored how these jobs ended, they run again: %s", ids)
        for service in self._services:
            service.stop()
        self._stop_listening()
        self._pool.close(LAST_CALL_S)
        for service in self._services:
            service.join(LAST_CALL_S)
        with contextlib.suppress(StorageError):
            self.storage.processes.remove(self.host_id)
        self.storage.flusher.close()
        logger.info("worker %s has stopped", self.host_id)
        return all_ended

    def _release_rest(self) -> None:
        stuck = [each for each in self._pool.running() if self._pool.abandon(each)]
        for execution in stuck:
            job = execution.job
            logger.warning("job %s (%s) did not stop; given back", job.id, job.kind)
        self._dispatcher.give_back(stuck)
