"""WorkerState: what the threads of one worker share, behind one lock.

A claimed job waits in its local queue, runs in a slot and ends; its outcome stays here
until the database has it. Every method takes the lock itself, so a thread that holds it
calls none of them.
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
    """Tells a claim whose answer may still come from those that are over.

    A claim that is under way may bring jobs of which nobody here has heard. There is
    one at a time.
    """

    def __init__(self) -> None:
        self.newest = 0
        """The number of the claim that began last."""
        self._is_under_way = False

    def begin(self) -> None:
        """Note that a claim begins."""
        self.newest += 1
        self._is_under_way = True

    def end(self) -> None:
        """Note that the answer is there, or will never come.

        The jobs that it has brought are known before.
        """
        self._is_under_way = False

    def have_ended(self, newest: int) -> bool:
        """Whether the claims up to a number are over."""
        return newest < self.newest or not self._is_under_way


class WorkerState:
    """The state of one worker.

    Args:
        worker_id: Owns the claimed jobs.
        queue_names: The declared queues.
        threads: Most runs at once in this process.
        lease_s: Seconds of silence after which others take its jobs.
        clock: Tells how old the last heartbeat is.
        worker_name: A label, or None.
        parent_pid: The process that has to be the parent to claim; None means any.
    """

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
        # Wakes the dispatcher.
        self.signal = threading.Event()
        self.lock = threading.Lock()
        # Behind the lock; updates are what the database has to be told of ended runs,
        # once the dispatcher has made them, and it alone takes from both.
        self.queues = _local_queues(self.queue_names)
        self.most_runs = threads
        self.ended: list[Ended] = []
        self.updates: list[JobUpdate] = []
        self.schedule = ClaimSchedule(self.queue_names)
        self.claims = Claims()
        self.is_claiming = True
        # Each set by one thread and read by others: the settings as last seen, when the
        # last heartbeat that was stored began, up to when others have seen us, whether
        # the schema is beyond this package, whether wake-ups arrive by themselves, and
        # for how long a storage that failed is left alone.
        self.settings = {name: QueueSettings(name) for name in self.queue_names}
        self.last_beat_at = self.shown_at = clock.monotonic()
        self.is_outdated = False
        self.is_pushing: Callable[[], bool] = _never
        self.backoff = Backoff()

    # -- for the dispatcher to do ----------------------------------------------------

    def notify(self, queue_name: str | None = None) -> None:
        """Look for work in a queue, or in all of them.

        Whoever says the latter has just reached the database, so it is tried at once.
        """
        names: Sequence[str] = (queue_name,) if queue_name else self.queue_names
        if queue_name is None:
            self.backoff.reset()
        elif queue_name not in self.queues:
            return  # every producer is heard, those of other queues too
        with self.lock:
            self.schedule.notify(names)
        self.signal.set()

    def give_back(self, executions: Iterable[Execution]) -> None:
        """Return claimed jobs to their queue, the attempt unspent."""
        with self.lock:
            self.ended += [(execution, Released()) for execution in executions]
        self.signal.set()

    def give_back_waiting(self, queue_name: str | None = None) -> None:
        """Return what has not started, of one queue or of all of them."""
        with self.lock:
            for name, queue in self.queues.items():
                if queue_name is None or name == queue_name:
                    self.ended += [(each, Released()) for each in queue.take_back()]
        self.signal.set()

    def stop_claiming(self) -> None:
        """Claim no more and give back what has not started."""
        with self.lock:
            self.is_claiming = False
        self.give_back_waiting()

    # -- what is here ----------------------------------------------------------------

    def running(self) -> list[Execution]:
        """Return the runs under way."""
        found: list[Execution] = []
        with self.lock:
            for queue in self.queues.values():
                found += queue.running.values()
        return found

    def runs(self) -> set[RunId]:
        """Return the runs known here, each from its claim until its end is stored."""
        with self.lock:
            known = {update.job.run_id for update in self.updates}
            known.update(execution.job.run_id for execution, _ in self.ended)
            for queue in self.queues.values():
                known.update(each.job.run_id for each in queue.running.values())
                known.update(each.job.run_id for each in queue.buffer)
            return known

    @property
    def has_unwritten(self) -> bool:
        """Whether the database does not know yet how all runs ended."""
        with self.lock:
            return bool(self.ended or self.updates)

    def take_uncounted_starts(self, started_before: float) -> list[Execution]:
        """Return the older runs under way whose start is not counted; each once.

        Args:
            started_before: Only those that started before this monotonic instant.
        """
        with self.lock:  # a run that ends now is either among them or never will be
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
        """Return what every slot does, for the process registry."""
        with self.lock:
            return [
                SlotReport(
                    f"{name}-{slot}-{self.worker_id}-{incarnation}", name, job_id
                )
                for name, queue in self.queues.items()
                for slot, incarnation, job_id in queue.report(self.most_runs)
            ]

    # -- what it may do --------------------------------------------------------------

    def settings_of(self, queue_name: str) -> QueueSettings:
        """Return a queue's settings as last read, or the defaults."""
        return self.settings.get(queue_name) or QueueSettings(queue_name)

    @property
    def is_fresh(self) -> bool:
        """Whether others can still believe that this process lives."""
        return self.clock.monotonic() - self.last_beat_at < self.lease_s

    def may_claim(self) -> bool:
        """Whether jobs that are claimed now may run here."""
        if self._parent_pid is not None and os.getppid() != self._parent_pid:
            return False
        return self.is_fresh and not self.is_outdated


def _never() -> bool:
    return False


def _local_queues(names: Sequence[str]) -> dict[str, LocalQueue]:
    share = MOST_BYTES_AHEAD // max(len(names), 1)
    return {name: LocalQueue(prefetch=Prefetch(share)) for name in names}
