"""A worker: its parts, its start, and the order in which it stops.

The dispatcher's thread claims jobs and writes outcomes; slot threads run jobs; they
meet in the handover. Services renew the lease and do everything else.

A stop has phases. The worker claims no more, and jobs that have not started go back
without losing an attempt. Running tasks get the grace to finish, then are asked to
stop; jobs that still run are given back, so that another worker runs them again. The
worker leaves the registry last.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from functools import partial

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.jobs import EnqueueResult, NewJob
from flask_forge_jobs.model.log_lines import one_line
from flask_forge_jobs.model.outcomes import Released
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.reentry import calls
from flask_forge_jobs.runtime.claim_schedule import ClaimSchedule, ExchangePace
from flask_forge_jobs.runtime.duties.services import Services
from flask_forge_jobs.runtime.duties.strays import Strays
from flask_forge_jobs.runtime.lease import Lease
from flask_forge_jobs.runtime.loop.batch_folds import BatchFolds
from flask_forge_jobs.runtime.loop.dispatcher import WAKE, Dispatcher, Inbox
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.loop.rounds import Rounds
from flask_forge_jobs.runtime.loop.time_limits import TimeLimits
from flask_forge_jobs.runtime.loop.writer import OutcomeWriter
from flask_forge_jobs.runtime.plan import RuntimePlan
from flask_forge_jobs.runtime.run.execution import Execution, Runner
from flask_forge_jobs.runtime.run.isolation import (
    FAREWELL_S,
    IsolatingRegistry,
    TaskProcesses,
    isolated_kinds,
)
from flask_forge_jobs.runtime.run.job_log import JobLog
from flask_forge_jobs.runtime.run.log_capture import capturing
from flask_forge_jobs.runtime.run.outcome import OutcomeMapper
from flask_forge_jobs.runtime.slots import Slots

logger = get_logger(__name__)

DEFAULT_SHUTDOWN_S = 5.0
LAST_CALL_S = 1.0  # for tasks to notice that the grace is over
_LONGEST_WRITE_S = 10.0
_HURRY_LOOK_S = 0.1


class Parts:
    """The parts of a worker."""

    def __init__(self, plan: RuntimePlan, worker_id: str) -> None:
        storage, clock, options = plan.storage, plan.clock, plan.worker
        names = options.queue_names
        inbox: Inbox = Inbox()
        self.settings = {name: QueueSettings(name) for name in names}
        self.processes = _processes(plan)
        runner = _runner(plan, worker_id, self.processes)
        slots = Slots(names, options.threads)
        self.lease = Lease(options.lease_s, clock, parent_pid=options.parent_pid)
        self.handover = Handover(runner, self.lease, slots, partial(inbox.put, WAKE))
        self.writer = _writer(plan, worker_id, self.handover, self.settings)
        pace = ExchangePace()
        bounding = pace if storage.jobs.has_one_writer else None
        self.schedule = ClaimSchedule(names, clock.monotonic, pace=bounding)
        rounds = Rounds(
            storage.jobs,
            self.handover,
            self.writer,
            lease=self.lease,
            schedule=self.schedule,
            time_limits=_time_limits(plan, self.handover, runner),
        )
        self.dispatcher = Dispatcher(rounds, self.writer, inbox, clock, pace=pace)
        self.strays = Strays(
            storage.jobs, self.handover, self.writer, rounds.claims, clock
        )
        self.services = Services(
            plan,
            worker_id,
            self.lease,
            self.handover,
            strays=self.strays,
            settings=self.settings,
            notify=self.dispatcher.notify,
        )
        self.stop_listening: Callable[[], None] = lambda: None

    def stop_claiming(self) -> None:
        """Claim no more, and give back the jobs that have not started."""
        self.lease.is_claiming = False
        self.handover.give_back_waiting()


class RuntimeHandle:
    """A running worker process, returned by :meth:`QueueRuntime.start`."""

    _is_stopping = False
    _all_ended: bool | None = None

    def __init__(self, plan: RuntimePlan) -> None:
        self.worker_id = plan.ids.new()
        self.storage = plan.storage
        self._plan = plan
        self._parts = Parts(plan, self.worker_id)
        self._pid = os.getpid()
        # Reentrant: a handler of a signal may call within the call that it interrupts.
        self._stopping = threading.RLock()
        self._is_hurried = False
        self._captures = contextlib.ExitStack()

    def start(self) -> None:
        """Start the threads; :meth:`QueueRuntime.start` calls this once."""
        parts, names = self._parts, self._plan.worker.queue_names
        try:
            self._captures.enter_context(capturing(self._plan.log_settings))
            parts.services.show()
            listener = self.storage.jobs.ends.listen(parts.dispatcher.notify)
            parts.schedule.is_pushing = listener.is_pushing
            parts.stop_listening = listener.stop
            parts.dispatcher.start()
            parts.services.start()
        except BaseException:
            self.shutdown_graceful(0.0)
            raise
        self._plan.observer.worker_started(self.worker_id, names)
        logger.info(
            "worker %s serves %s with up to %s threads",
            self.worker_id,
            ", ".join(names),
            self._plan.worker.threads,
        )

    def stop_claiming(self) -> None:
        """Start no more jobs; those that have not started go back to their queues."""
        self._parts.stop_claiming()

    def _stop(self, timeout_s: float, last_call_s: float) -> bool:
        parts = self._parts
        parts.stop_claiming()
        all_ended = self._is_quiet_within(timeout_s)
        if not all_ended:
            for execution in parts.handover.running:
                execution.token.cancel(CancelReason.SHUTDOWN)
            all_ended = parts.handover.wait_until_quiet(last_call_s)
        if parts.processes is not None:
            # Before other workers may run their jobs.
            parts.processes.close(min(FAREWELL_S, last_call_s))
        if not all_ended:
            self._give_back_rest()
        if parts.dispatcher.finish(_LONGEST_WRITE_S):
            with contextlib.suppress(StorageError):
                parts.strays.give_back_all()
        else:
            ids = ", ".join(sorted(run.job_id for run in parts.writer.runs()))
            logger.error(
                "cannot store the outcomes of these jobs; they run again: %s", ids
            )
        parts.services.stop()
        stop_listening, parts.stop_listening = parts.stop_listening, lambda: None
        stop_listening()
        parts.handover.close(last_call_s)
        parts.services.join(last_call_s)
        self._captures.close()
        with contextlib.suppress(StorageError):
            self.storage.workers.remove(self.worker_id)
        self.storage.flusher.close()
        self._plan.observer.worker_stopped(
            self.worker_id, self._plan.worker.queue_names
        )
        logger.info("worker %s has stopped", self.worker_id)
        return all_ended

    def _is_quiet_within(self, timeout_s: float) -> bool:
        handover = self._parts.handover
        while timeout_s > 0 and not self._is_hurried:
            if handover.wait_until_quiet(min(timeout_s, _HURRY_LOOK_S)):
                return True
            timeout_s -= _HURRY_LOOK_S
        return handover.wait_until_quiet(0.0)

    def _give_back_rest(self) -> None:
        for execution in self._parts.handover.running:
            if self._parts.handover.abandon(execution, Released()):
                job = execution.job
                kind = one_line(job.kind)
                logger.warning("job %s (%s) did not stop; given back", job.id, kind)

    @property
    def abandoned_count(self) -> int:
        """The number of threads that run an abandoned job, past its time limit."""
        return self._parts.handover.abandoned_count

    @property
    def is_stuck(self) -> bool:
        """Whether the heartbeat or the dispatcher hangs or has died.

        Without a heartbeat, other workers take the jobs of this one; without a
        dispatcher, outcomes are not stored.
        """
        return self._parts.services.is_stuck or self._parts.dispatcher.is_stuck

    @property
    def is_outdated(self) -> bool:
        """Whether a newer package has migrated the database, so that this one stops."""
        return self._parts.lease.is_outdated

    def has_work(self) -> bool:
        """Return whether one of its jobs runs, or a job in its queues could start now.

        Raises:
            StorageError: The database could not be read.
        """
        return self.storage.job_reader.has_work(
            self.worker_id, self._plan.worker.queue_names
        )

    def running(self) -> list[Execution]:
        """Return the jobs that run now."""
        return self._parts.handover.running

    def request_cancel(self, job_id: str) -> bool:
        """Cancel a job that runs in this process; it ends ``dead`` unless it succeeds.

        Returns:
            False if the job does not run here.
        """
        for execution in self._parts.handover.running:
            if execution.job.id == job_id:
                execution.token.cancel(CancelReason.USER)
                return True
        return False

    def enqueue(self, job: NewJob) -> EnqueueResult:
        """Store a job; see :meth:`QueueRuntime.enqueue`."""
        return self._plan.enqueue(job)

    def shutdown_graceful(
        self, timeout_s: float = DEFAULT_SHUTDOWN_S, *, last_call_s: float = LAST_CALL_S
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


def _writer(
    plan: RuntimePlan,
    worker_id: str,
    handover: Handover,
    settings: Mapping[str, QueueSettings],
) -> OutcomeWriter:
    mapper = OutcomeMapper(
        settings.__getitem__, plan.jitter, plan.mask, plan.registry.get
    )
    storage = plan.storage
    return OutcomeWriter(
        storage.jobs,
        worker_id,
        handover,
        mapper,
        storage.recorder,
        job_log=JobLog(plan.clock),
        folds=BatchFolds(storage.batches.fold),
    )


def _time_limits(plan: RuntimePlan, handover: Handover, runner: Runner) -> TimeLimits:
    return TimeLimits(
        handover,
        stop_limit_s=runner.stop_limit_s,
        cancel_grace_s=plan.worker.cancel_grace_s,
    )


def _processes(plan: RuntimePlan) -> TaskProcesses | None:
    if not isolated_kinds(plan.registry):
        return None
    return TaskProcesses(
        plan.worker.task_command, grace_s=plan.worker.cancel_grace_s, clock=plan.clock
    )


def _runner(
    plan: RuntimePlan, worker_id: str, processes: TaskProcesses | None
) -> Runner:
    registry = plan.registry
    if processes is not None:
        registry = IsolatingRegistry(registry, processes)
    return plan.runner(
        registry,
        worker_id,
        concurrency=plan.storage.concurrency,
        log_settings=plan.log_settings,
    )
