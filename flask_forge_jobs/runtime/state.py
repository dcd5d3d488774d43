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
from flask_forge_jobs.model.outcomes import Outcome, Released
from flask_forge_jobs.model.queues import QueueSettings
from flask_forge_jobs.model.run_end import JobUpdate
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.reentry import Flag
from flask_forge_jobs.runtime.local_queue import MOST_BYTES_AHEAD, LocalQueue, Prefetch
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.runtime.service import Backoff

Ended = tuple[Execution, Outcome]
# How often a busy worker looks for jobs whose time has come.
PROMOTE_PERIOD_S = 0.25
# A worker that has been idle for this long asks when the next job is due.
IDLE_AFTER_S = 0.02


class ClaimSchedule:
    """Which queues may have work; guarded by the lock of the worker's state.

    All times are monotonic seconds.
    """

    def __init__(self, queue_names: Sequence[str]) -> None:
        self._queue_names = frozenset(queue_names)
        self.maybe_ready = set(queue_names)
        # When the next scheduled job of the covered queues is due.
        self._due_at: float | None = None
        self._due_covers: set[str] = set()
        self._idle_at = 0.0
        self._promote_at = 0.0
        self._poll_at = 0.0

    def notify(self, names: Iterable[str]) -> None:
        """Record that jobs were enqueued."""
        self.maybe_ready.update(names)
        self._due_covers.difference_update(names)

    def note_exchange(
        self, now: float, written: Iterable[JobUpdate] = (), *, promoted: bool
    ) -> None:
        """Record that outcomes were written or jobs claimed."""
        if promoted:
            self._promote_at = now + PROMOTE_PERIOD_S
        self._idle_at = now + IDLE_AFTER_S
        for update in written:
            if update.delay_s:
                self._due_covers.discard(update.job.queue_name)

    def is_time_to_promote(self, now: float) -> bool:
        """Whether the next claim should look for scheduled jobs that are due."""
        return now >= self._promote_at

    def advance(self, now: float, pause_s: float) -> None:
        """Expect work everywhere once it is time to poll or a job is due.

        The next poll is ``pause_s`` seconds later.
        """
        is_due = self._due_at is not None and now >= self._due_at
        if now >= self._poll_at or is_due:
            self.maybe_ready.update(self._queue_names)
            self._due_at = None
            self._due_covers.clear()
            self._promote_at = now
            self._poll_at = now + pause_s

    def next_look(self) -> float:
        """Return when to look for work without a wake-up."""
        moment = self._poll_at
        if self._due_at is not None:
            moment = min(moment, self._due_at)
        if self._queue_names - self.maybe_ready - self._due_covers:
            moment = min(moment, self._idle_at)
        return moment

    def to_ask(self, now: float) -> set[str]:
        """Return the queues to ask when their next job is due; empty for not now.

        Queues that may have work are left out: they have no free slot here, so a job
        that is due would make us look again and again. A :meth:`notify` in the meantime
        invalidates the answer.
        """
        names = set(self._queue_names - self.maybe_ready)
        if now < self._idle_at or names <= self._due_covers:
            return set()
        self._due_covers = set(names)
        return names

    def learn_due(self, due_at: float | None) -> None:
        """Record when the next job of the queues from :meth:`to_ask` is due."""
        self._due_at = due_at


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
        self.signal = Flag()  # wakes the dispatcher
        self.lock = threading.RLock()
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
        self.leased_from = clock.since_boot()
        # returned_at: a beat came after the lease had run out; earlier claims are void.
        self.last_beat_at = self.shown_at = self.returned_at = clock.monotonic()
        # The start of the dispatcher's round, or of the first that failed.
        self.unanswered_since: float | None = None
        self.is_outdated = False
        self.is_pushing: Callable[[], bool] = lambda: False
        self.backoff = Backoff()

    @property
    def written_until(self) -> float:
        """The monotonic time until which nothing that this worker wrote was refused.

        A full disk may refuse the outcomes and still have room for a heartbeat.
        """
        since = self.unanswered_since
        return self.last_beat_at if since is None else min(since, self.last_beat_at)

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

    def note_beat(self, began_at: float, leased_from: float) -> None:
        """Start a new lease at a monotonic time, and as many seconds after the boot.

        If the last one has run out, other workers may have taken the jobs that wait
        here. They go back first, so that no slot starts one.
        """
        if not self.is_fresh:
            self.returned_at = self.clock.monotonic()
            self.give_back_waiting()
        self.last_beat_at, self.leased_from = began_at, leased_from

    @property
    def is_fresh(self) -> bool:
        """Whether its lease has not run out."""
        return self.clock.since_boot() - self.leased_from < self.lease_s

    def may_claim(self) -> bool:
        """Whether this worker may claim jobs."""
        if self._parent_pid is not None and os.getppid() != self._parent_pid:
            return False
        return self.is_fresh and not self.is_outdated
