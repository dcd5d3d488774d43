"""RuntimeHandle: starts the services of one worker process and stops them in order.

A stop has phases. The worker claims no more, and jobs that have not started go back
without losing an attempt. Running tasks get the grace to finish, then are asked to
stop; jobs that still run are released, so that another worker runs them again. The
worker leaves the registry last.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.outcomes import Released
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.reentry import calls
from flask_forge_jobs.runtime.dispatcher import Dispatcher, TimeLimits
from flask_forge_jobs.runtime.duties.counts import Upkeep
from flask_forge_jobs.runtime.duties.cron import Scheduler
from flask_forge_jobs.runtime.duties.heartbeat import Heartbeat
from flask_forge_jobs.runtime.duties.leader import Leader
from flask_forge_jobs.runtime.duties.membership import Membership
from flask_forge_jobs.runtime.duties.metrics import MetricsUpkeep
from flask_forge_jobs.runtime.duties.reaper import Reaper
from flask_forge_jobs.runtime.duties.retention import Sweeper
from flask_forge_jobs.runtime.duties.sampler import Sampler
from flask_forge_jobs.runtime.duties.strays import release_strays
from flask_forge_jobs.runtime.duties.supervisor import Supervisor
from flask_forge_jobs.runtime.outcomes import OutcomeMapper, OutcomeWriter
from flask_forge_jobs.runtime.plan import RuntimePlan
from flask_forge_jobs.runtime.run.execution import Execution, Runner
from flask_forge_jobs.runtime.run.isolation import (
    FAREWELL_S,
    IsolatingRegistry,
    TaskProcesses,
    isolated_kinds,
)
from flask_forge_jobs.runtime.service import Duty, Service
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.runtime.state import WorkerState

logger = get_logger(__name__)

DEFAULT_SHUTDOWN_S = 5.0
LAST_CALL_S = 1.0  # for tasks to notice that the grace is over
_LONGEST_WRITE_S = 10.0
_HURRY_LOOK_S = 0.1


class RuntimeHandle:
    """A running worker process, returned by :meth:`QueueRuntime.start`."""

    _is_stopping = False
    _all_ended: bool | None = None

    def __init__(self, plan: RuntimePlan) -> None:
        self.worker_id = plan.ids.new()
        self.storage = plan.storage
        self._plan = plan
        self._clock = plan.clock
        self._pid = os.getpid()
        # Reentrant: a handler of a signal may call within the call that it interrupts.
        self._stopping = threading.RLock()
        self._is_hurried = False
        self._stop_listening: Callable[[], None] = lambda: None
        self._processes: TaskProcesses | None = None
        self._state = WorkerState(
            self.worker_id,
            plan.queue_names,
            threads=plan.threads,
            lease_s=plan.lease_s,
            clock=plan.clock,
            worker_name=plan.worker_name,
            parent_pid=plan.parent_pid,
        )
        runner = self._make_runner()
        self._pool = SlotPool(self._state, runner)
        mapper = OutcomeMapper(
            self._state.settings_of, plan.jitter, plan.mask, plan.registry.get
        )
        self._writer = OutcomeWriter(
            self.storage.jobs, self._state, mapper, self.storage.recorder
        )
        self._dispatcher = self._make_dispatcher(runner)
        self._duties: list[Duty] = []
        self._supervisor = self._make_supervisor()
        self._heartbeat = self._make_heartbeat()
        self._heart = self._serve(self._heartbeat)
        self._services = [
            self._serve(self._supervisor, self._make_reaper()),
            self._heart,
            self._serve(*self._make_upkeep()),
            self._serve(*self._make_cluster_duties()),
        ]

    def _serve(self, *duties: Duty) -> Service:
        self._duties.extend(duties)
        return Service(*duties)

    def _make_runner(self) -> Runner:
        plan = self._plan
        registry = plan.registry
        if isolated_kinds(registry):
            self._processes = TaskProcesses(
                plan.task_command, grace_s=plan.cancel_grace_s, clock=self._clock
            )
            registry = IsolatingRegistry(registry, self._processes)
        return plan.runner(
            registry, self.worker_id, concurrency=self.storage.concurrency
        )

    def _make_dispatcher(self, runner: Runner) -> Dispatcher:
        time_limits = TimeLimits(
            self._state,
            self._pool,
            stop_limit_s=runner.stop_limit_s,
            cancel_grace_s=self._plan.cancel_grace_s,
        )
        return Dispatcher(
            self.storage.jobs, self._state, self._pool, self._writer, time_limits
        )

    def _make_supervisor(self) -> Supervisor:
        membership = Membership(
            self.storage.workers,
            worker_id=self.worker_id,
            queue_names=self._plan.queue_names,
            written_until=lambda: self._state.shown_at,
        )
        return Supervisor(self.storage.queues, membership, self._state, self._pool)

    def _make_heartbeat(self) -> Heartbeat:
        return Heartbeat(
            self.storage.jobs,
            self.storage.workers,
            self._state,
            recorder=self.storage.recorder,
            database=self.storage.database,
            duties=self._duties,
        )

    def _make_reaper(self) -> Reaper:
        return Reaper(
            self.storage.jobs,
            self.storage.workers,
            lease_s=self._plan.lease_s,
            written_until=lambda: self._state.written_until,
        )

    def _make_upkeep(self) -> tuple[Duty, ...]:
        """The side duties of every worker process."""
        storage, clock = self.storage, self._clock
        file = storage.database.file
        return (
            Upkeep(storage.job_admin),
            Sampler(
                storage.samples,
                storage.recorder,
                worker_id=self.worker_id,
                directory=file.parent if file else Path.cwd(),
                clock=clock,
            ),
            MetricsUpkeep(storage.metrics, storage.samples, clock),
        )

    def _make_cluster_duties(self) -> tuple[Duty, ...]:
        """The duties of the leader; the long one yields to the others."""
        storage, clock = self.storage, self._clock
        leader = Leader(storage.leases, worker_id=self.worker_id, clock=clock)
        scheduler = Scheduler(
            storage.cron,
            leader,
            router=self._plan.router,
            registry=self._plan.registry,
            clock=clock,
        )
        leader.on_gained = scheduler.wake
        others = (leader, scheduler)
        return *others, Sweeper(storage.retention, leader, others=others, clock=clock)

    def start(self) -> None:
        """Start the threads; :meth:`QueueRuntime.start` calls this once."""
        try:
            # Know the limits, and be visible, before the first claim.
            self._supervisor.tick()
            self._heartbeat.tick()
            listener = self.storage.jobs.ends.listen(self._state.notify)
            self._state.is_pushing = listener.is_pushing
            self._stop_listening = listener.stop
            self._dispatcher.start()
            for service in self._services:
                service.start()
        except BaseException:
            self.shutdown_graceful(0.0)
            raise
        self._plan.observer.worker_started(self.worker_id, self._plan.queue_names)
        logger.info(
            "worker %s serves %s with up to %s threads",
            self.worker_id,
            ", ".join(self._plan.queue_names),
            self._plan.threads,
        )

    @property
    def abandoned_count(self) -> int:
        """How many threads tasks that ignored their time limit block now."""
        return self._pool.abandoned_count

    @property
    def is_stuck(self) -> bool:
        """Whether the heartbeat or the dispatcher hangs or has died.

        Without a heartbeat, other workers take the jobs of this one; without a
        dispatcher, outcomes are not stored.
        """
        if self._heartbeat.is_stuck or not self._heart.is_alive:
            return True
        return self._dispatcher.is_stuck

    @property
    def is_outdated(self) -> bool:
        """Whether a newer package has migrated the database, so that this one stops."""
        return self._state.is_outdated

    def has_work(self) -> bool:
        """Tell whether one of its jobs runs, or a job in its queues could start now.

        Raises:
            StorageError: The database could not be read.
        """
        return self.storage.job_reader.has_work(self.worker_id, self._plan.queue_names)

    def running(self) -> list[Execution]:
        """Return the jobs that run now."""
        return self._state.running()

    def request_cancel(self, job_id: str) -> bool:
        """Cancel a job that runs in this process; it ends ``dead`` unless it succeeds.

        Returns:
            False if the job does not run here.
        """
        for execution in self._state.running():
            if execution.job.id == job_id:
                execution.token.cancel(CancelReason.USER)
                return True
        return False

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store a job; see :meth:`QueueRuntime.enqueue`."""
        return self._plan.enqueue(job)

    def shutdown_graceful(
        self,
        timeout_s: float = DEFAULT_SHUTDOWN_S,
        *,
        last_call_s: float = LAST_CALL_S,
    ) -> bool:
        """Let running tasks finish, give the other jobs back, and stop.

        A second call waits for the first one and returns the same; within the first
        one, from a handler of a signal, it returns False at once and the first one goes
        on. If the first one failed, it does nothing and returns False; if
        KeyboardInterrupt or SystemExit interrupted it, it goes on. A task that calls
        this outlives the stop, so its job is given back. In a child that was forked
        from the worker's process, it leaves the worker alone and returns False.

        If the handler has interrupted a call of the storage, that has to end first: the
        stop goes on in a thread of its own, for which the program's end waits, and this
        returns False at once.

        Args:
            timeout_s: Seconds before running tasks are asked to stop; default 5.
            last_call_s: Seconds that they then get to stop; default 1.

        Returns:
            False if a task did not stop, so that its job was given back.
        """
        if os.getpid() != self._pid:  # a copy, without the threads
            return False
        if calls.is_busy:
            stop = partial(self.shutdown_graceful, timeout_s, last_call_s=last_call_s)
            threading.Thread(target=stop, name="forge-jobs-stop").start()
            return False
        with self._stopping:
            if self._is_stopping:
                return False
            if self._all_ended is None:
                try:
                    self._is_stopping = True
                    self._all_ended = self._stop(timeout_s, last_call_s)
                except Exception:
                    self._all_ended = False
                    raise
                finally:
                    self._is_stopping = False
            return self._all_ended

    def hurry(self) -> None:
        """Cut the wait of a running shutdown short; safe in a signal handler."""
        self._is_hurried = True

    def _is_quiet_within(self, timeout_s: float) -> bool:
        while timeout_s > 0 and not self._is_hurried:
            if self._pool.wait_until_quiet(min(timeout_s, _HURRY_LOOK_S)):
                return True
            timeout_s -= _HURRY_LOOK_S
        return self._pool.wait_until_quiet(0.0)

    def _stop(self, timeout_s: float, last_call_s: float) -> bool:
        self._state.stop_claiming()
        all_ended = self._is_quiet_within(timeout_s)
        if not all_ended:
            for execution in self._state.running():
                execution.token.cancel(CancelReason.SHUTDOWN)
            all_ended = self._pool.wait_until_quiet(last_call_s)
        if self._processes is not None:
            # Before other workers may run their jobs.
            self._processes.close(min(FAREWELL_S, last_call_s))
        if not all_ended:
            self._release_rest()
        if self._dispatcher.finish(_LONGEST_WRITE_S):
            with contextlib.suppress(StorageError):
                release_strays(self.storage.jobs, self._state, self._writer)
        else:
            ids = ", ".join(sorted(run.job_id for run in self._state.runs()))
            logger.error("cannot store how these jobs ended; they run again: %s", ids)
        for service in self._services:
            service.stop()
        stop_listening, self._stop_listening = self._stop_listening, lambda: None
        stop_listening()
        self._pool.close(last_call_s)
        for service in self._services:
            service.join(last_call_s)
        with contextlib.suppress(StorageError):
            self.storage.workers.remove(self.worker_id)
        self.storage.flusher.close()
        self._plan.observer.worker_stopped(self.worker_id, self._plan.queue_names)
        logger.info("worker %s has stopped", self.worker_id)
        return all_ended

    def _release_rest(self) -> None:
        for execution in self._state.running():
            if self._pool.abandon(execution, Released()):
                job = execution.job
                kind = one_line(job.kind)
                logger.warning("job %s (%s) did not stop; given back", job.id, kind)
