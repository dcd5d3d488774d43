"""WorkerState: what the threads of one worker share, guarded by one lock.

A claimed job waits in its local queue and runs in a slot; its outcome stays here until
it is stored. Methods take the lock, so do not call them while holding it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.claims import RunId
from flask_forge_jobs.model.outcomes import JobUpdate, Outcome, Released
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.runtime.backoff import Backoff
from flask_forge_jobs.runtime.claim_schedule import ClaimSchedule
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.local_queue import MOST_BYTES_AHEAD, LocalQueue, Prefetch

Ended = tuple[Execution, Outcome]


class Claims:
    """Numbers the claims, of which one is in progress at a time.

    A claim in progress may own jobs that are still unknown here.
    """

    def __init__(self) -> None:
        self.newest = 0
        """The number of the latest claim."""
        self._is_under_way = False

    def begin(self) -> None:
        """Record the start of a claim."""
        self.newest += 1
        self._is_under_way = True

    def end(self) -> None:
        """Record the end of a claim, whose jobs are known by now."""
        self._is_under_way = False

    def have_ended(self, newest: int) -> bool:
        """Whether all claims up to a number have ended."""
        return newest < self.newest or not self._is_under_way


class WorkerState:
    """The state of one worker; see :class:`.RuntimePlan` for the arguments."""

    def __init__(
        self,
        worker_id: str,
        queue_names: Sequence[str],
        *,
        threads: int,
        lease_s: float,
        clock: Clock,
        worker_name: str | None = None,
        parent_pid: int | None = None,
    ) -> None:
        self.worker_id = worker_id
        self.worker_name = worker_name
        self.queue_names = tuple(queue_names)
        self.lease_s = lease_s
        self.clock = clock
        self._parent_pid = parent_pid
        self.signal = threading.Event()  # wakes the dispatcher
        self.lock = threading.Lock()
        # Guarded by the lock. Only the dispatcher removes from ended and updates.
        share = MOST_BYTES_AHEAD // max(len(queue_names), 1)
        self.queues = {
            name: LocalQueue(prefetch=Prefetch(share)) for name in queue_names
        }
        self.most_runs = threads
        self.ended: list[Ended] = []
        self.updates: list[JobUpdate] = []
        self.schedule = ClaimSchedule(self.queue_names)
        self.claims = Claims()
        self.is_claiming = True
        # Each is set by one thread and read by others.
        self.settings = {name: QueueSettings(name) for name in self.queue_names}
        self.last_beat_at = self.shown_at = clock.monotonic()
        self.is_outdated = False
        self.is_pushing: Callable[[], bool] = lambda: False
        self.backoff = Backoff()

    def notify(self, queue_name: str | None = None) -> None:
        """Look for work in a queue, or in all of them.

        For all of them, the caller has just reached the database, so the back-off ends.
        """
        names: Sequence[str] = (queue_name,) if queue_name else self.queue_names
        if queue_name is None:
            self.backoff.reset()
        elif queue_name not in self.queues:
            return  # wake-ups of other queues arrive as well
        with self.lock:
            self.schedule.notify(names)
        self.signal.set()

    def give_back(self, executions: Iterable[Execution]) -> None:
        """Return claimed jobs to their queue without losing an attempt."""
        with self.lock:
            self.ended += [(execution, Released()) for execution in executions]
        self.signal.set()

    def give_back_waiting(self, queue_name: str | None = None) -> None:
        """Return the jobs that have not started, of one queue or of all."""
        with self.lock:
            for name, queue in self.queues.items():
                if queue_name is None or name == queue_name:
                    self.ended += [(each, Released()) for each in queue.take_back()]
        self.signal.set()

    def stop_claiming(self) -> None:
        """Claim no more, and give back the jobs that have not started."""
        with self.lock:
            self.is_claiming = False
        self.give_back_waiting()

    def running(self) -> list[Execution]:
        """Return the jobs that run now."""
        found: list[Execution] = []
        with self.lock:
            for queue in self.queues.values():
                found += queue.running.values()
        return found

    def runs(self) -> set[RunId]:
        """Return every run here, from its claim until its outcome is stored."""
        with self.lock:
            known = {update.job.run_id for update in self.updates}
            known.update(execution.job.run_id for execution, _ in self.ended)
            for queue in self.queues.values():
                known.update(each.job.run_id for each in queue.running.values())
                known.update(each.job.run_id for each in queue.buffer)
            return known

    @property
    def has_unwritten(self) -> bool:
        """Whether there are outcomes to store."""
        with self.lock:
            return bool(self.ended or self.updates)

    def take_uncounted_starts(self, started_before: float) -> list[Execution]:
        """Return, once each, the runs that started before a time and go on."""
        with self.lock:  # a run that ends now is counted here or at its end
            found = [
                execution
                for queue in self.queues.values()
                for execution in queue.running.values()
                if not execution.is_start_counted
                and execution.started_at <= started_before
            ]
            for execution in found:
                execution.is_start_counted = True
            return found

    def slot_reports(self) -> list[SlotReport]:
        """Return the state of every slot, for the registry."""
        with self.lock:
            return [
                SlotReport(
                    f"{name}-{slot}-{self.worker_id}-{incarnation}", name, job_id
                )
                for name, queue in self.queues.items()
                for slot, incarnation, job_id in queue.report(self.most_runs)
            ]

    def settings_of(self, queue_name: str) -> QueueSettings:
        """Return a queue's settings as last read, or the defaults."""
        return self.settings.get(queue_name) or QueueSettings(queue_name)

    @property
    def is_fresh(self) -> bool:
        """Whether its lease has not run out."""
        return self.clock.monotonic() - self.last_beat_at < self.lease_s

    def may_claim(self) -> bool:
        """Whether this worker may claim jobs."""
        if self._parent_pid is not None and os.getppid() != self._parent_pid:
            return False
        return self.is_fresh and not self.is_outdated
