"""Heartbeat: tells the others that this process lives, and hears what they want.

One statement renews every running job and returns which of them a user wants stopped
and which are no longer ours. Requests to stop are looked up every second through an
index that is empty otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.processes import ServiceAge, SlotReport
from flask_forge_jobs.runtime.dispatcher import Dispatcher
from flask_forge_jobs.runtime.service import Service
from flask_forge_jobs.runtime.slots import SlotPool
from flask_forge_jobs.runtime.strays import Strays
from flask_forge_jobs.storage.deadlines import within
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.processes import ProcessRegistry
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.tasks.cancellation import CancelReason

logger = get_logger(__name__)

TICK_S = 1.0
# Beats within one lease: five may get lost.
BEATS_PER_LEASE = 6
# The part of a lease within which a tick ends, however long the database is away: well
# before it would count as stuck.
TICK_PART = 0.5
# How often others see that this process is there: they share out the workers of the
# queues anew when it joins or is gone.
SHOW_PERIOD_S = 2.0
# A run that is this old counts as started before it ends.
LONG_RUN_S = 1.0
# What the slots do is written this often at most.
REPORT_PERIOD_S = 2.0


@dataclass(slots=True)
class _Turn:
    """What is done every so many seconds, and at first at once."""

    period_s: float
    next_at: float = 0.0

    def is_due(self, now: float) -> bool:
        return now >= self.next_at

    def done(self, now: float) -> None:
        self.next_at = now + self.period_s


class Heartbeat(Service):
    """Renews this process, its slots and its jobs.

    Args:
        jobs: The hot path of the storage.
        processes: The process registry.
        pool: The slots.
        dispatcher: Gets jobs that nobody here knows of.
        recorder: Counts the starts of runs that go on.
        host_id: This process.
        worker_name: Its label, or None.
        queue_names: Its declared queues.
        lease_s: Seconds of silence after which others take its jobs.
        clock: For periods.
        services: Returns how old the last ticks of this process's services are.
    """

    def __init__(
        self,
        jobs: JobQueue,
        processes: ProcessRegistry,
        pool: SlotPool,
        dispatcher: Dispatcher,
        *,
        recorder: Recorder,
        host_id: str,
        worker_name: str | None,
        queue_names: Sequence[str],
        lease_s: float,
        clock: Clock,
        services: Callable[[], Iterable[ServiceAge]] = tuple,
    ) -> None:
        super().__init__(
            "heartbeat",
            min(TICK_S, lease_s / BEATS_PER_LEASE),
            longest_backoff_s=0.0,  # the lease does not wait
            clock=clock,
        )
        self._jobs = jobs
        self._processes = processes
        self._pool = pool
        self._dispatcher = dispatcher
        self._strays = Strays(jobs, self._dispatcher, clock)
        self._recorder = recorder
        self._host_id = host_id
        self._worker_name = worker_name
        self._queue_names = tuple(queue_names)
        self._lease_s = lease_s
        self._clock = clock
        self._services = services
        self._beat = _Turn(lease_s / BEATS_PER_LEASE)
        self._show = _Turn(min(SHOW_PERIOD_S, self._beat.period_s))
        self._report = _Turn(REPORT_PERIOD_S)
        self._reported: list[SlotReport] = []
        # Up to when others have seen that this process is there.
        self.shown_at = clock.monotonic()
        self.last_beat_at = clock.monotonic()
        self._ticks_since: float | None = None
        self._is_broken = False
        self._is_cut_off = False

    @property
    def is_fresh(self) -> bool:
        """Whether others can still believe that this process lives."""
        return self._clock.monotonic() - self.last_beat_at < self._lease_s

    @property
    def is_stuck(self) -> bool:
        """Whether this process cannot beat any more and the lease runs out.

        One tick has been under way for too long, or the ticks fail of something that is
        no fault of the storage. A storage that fails does not count, nor does one that
        hangs, for a tick waits half a lease for it at most: it may come back, and a
        fresh process would be no better off.
        """
        now, since = self._clock.monotonic(), self._ticks_since
        # The last beat came up to a period before, and it takes a while to end; less
        # would end processes on a machine that is merely busy.
        longest_s = self._lease_s - 1.5 * self._beat.period_s
        if since is not None and now - since >= longest_s:
            return True
        return self._is_broken and now - self.last_beat_at >= longest_s

    def tick(self) -> None:
        """Beat when it is time; otherwise only listen for requests to stop."""
        self._ticks_since = self._clock.monotonic()
        is_broken = True
        try:
            with within(TICK_PART * self._lease_s):
                self._tick(self._ticks_since)
            is_broken = False
        except StorageError:
            is_broken = False
            self._is_cut_off = True
            raise
        finally:
            self._is_broken = is_broken
            self._ticks_since = None
        if self._is_cut_off:
            self._is_cut_off = False
            self._dispatcher.wake()

    def _tick(self, now: float) -> None:
        for execution in self._pool.take_uncounted_starts(now - LONG_RUN_S):
            job = execution.job
            self._recorder.started(job.queue_name, job.kind, execution.wait_us)
        is_due = self._beat.is_due(now)
        progress = self._take_progress()
        if is_due or progress:
            self._beat_jobs(progress)
        elif self._pool.running():
            self._cancel(self._jobs.cancelled(self._host_id))
        self._strays.give_back()
        report = self._pool.report()
        has_changed = report != self._reported
        who = (self._host_id, self._worker_name, self._queue_names)
        if is_due or (has_changed and self._report.is_due(now)):
            self._processes.beat(*who, report, self._services())
            self._reported = report
            self._report.done(now)
            self._note_shown(now)
        elif self._show.is_due(now):
            self._processes.show(*who, self._services())
            self._note_shown(now)
        if is_due:
            self._beat.done(now)
            self.last_beat_at = now

    def _note_shown(self, now: float) -> None:
        self._show.done(now)
        self.shown_at = now

    def _take_progress(self) -> dict[str, str]:
        found = {}
        for execution in self._pool.running():
            text, execution.progress = execution.progress, None
            if text is not None:
                found[execution.job.id] = text
        return found

    def _beat_jobs(self, progress: dict[str, str]) -> None:
        before = self._pool.running()
        report = self._jobs.heartbeat(self._host_id, progress)
        self._cancel(report.cancelled)
        running = {id(execution) for execution in self._pool.running()}
        for execution in before:
            is_ours = execution.job.run_id in report.owned
            if not is_ours and id(execution) in running:
                execution.token.cancel(CancelReason.LOST)
        self._strays.note(report.owned)

    def _cancel(self, job_ids: Sequence[str] | frozenset[str]) -> None:
        wanted = set(job_ids)
        if wanted:
            for execution in self._pool.running():
                if execution.job.id in wanted:
                    execution.token.cancel(CancelReason.USER)
