"""Heartbeat: renews this worker's jobs and learns which of them to stop.

One statement renews every running job and returns which ones are cancelled and which
are no longer ours. Between beats it looks for cancelled jobs every second, through a
partial index. Each beat also checks the schema, so that an idle worker notices when a
newer package has migrated the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flask_forge_jobs.errors import SchemaTooNewError, StorageError
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import RunId
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.model.workers import SlotReport
from flask_forge_jobs.runtime.duties.strays import Strays
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.runtime.state import WorkerState
from flask_forge_jobs.storage.database import (
    NO_FAULT_OF_ROWS,
    Database,
    StorageMovedError,
    within,
)
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.migrate import look_at_schema
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.workers import WorkerRegistry

logger = get_logger(__name__)

TICK_S = 1.0
BEATS_PER_LEASE = 6  # five may get lost
# A tick gives up after this part of a lease, well before it would count as stuck.
TICK_PART = 0.5
# How often this process shows itself; the others divide the slots among those they see.
SHOW_PERIOD_S = 2.0
LONG_RUN_S = 1.0  # a run that is this old is counted as started before it ends
REPORT_PERIOD_S = 2.0  # at most this often, it writes what the slots do


@dataclass(slots=True)
class _Period:
    """A period; the first time it is due at once."""

    length_s: float
    next_at: float = 0.0

    def is_due(self, now: float) -> bool:
        return now >= self.next_at

    def done(self, now: float) -> None:
        self.next_at = now + self.length_s


class Heartbeat(Duty):
    """Renews this process, its slots and its jobs."""

    def __init__(
        self,
        jobs: JobQueue,
        workers: WorkerRegistry,
        state: WorkerState,
        *,
        recorder: Recorder,
        database: Database,
        duties: Iterable[Duty] = (),
    ) -> None:
        beat_s = state.lease_s / BEATS_PER_LEASE
        super().__init__(
            "heartbeat",
            min(TICK_S, beat_s),
            longest_backoff_s=0.0,  # the lease does not wait
            clock=state.clock,
        )
        self._jobs = jobs
        self._workers = workers
        self._state = state
        self._strays = Strays(jobs, state)
        self._recorder = recorder
        self._database = database
        self._duties = duties
        self._beat = _Period(beat_s)
        self._show = _Period(min(SHOW_PERIOD_S, beat_s))
        self._report = _Period(REPORT_PERIOD_S)
        self._reported: list[SlotReport] = []
        self._unwritten: dict[RunId, str] = {}  # progress
        self._ticks_since: float | None = None
        self._is_broken = False
        self._is_cut_off = False

    @property
    def is_stuck(self) -> bool:
        """Whether this process can no longer beat, so that its lease runs out.

        A tick hangs, or ticks fail for another reason than the storage. An unreachable
        database does not count, unless a new process could reach it.
        """
        now, since = self._clock.monotonic(), self._ticks_since
        # Leaves time to stop, but does not end a process on a machine that is busy.
        longest_s = self._state.lease_s - 1.5 * self._beat.length_s
        if since is not None and now - since >= longest_s:
            return True
        return self._is_broken and now - self._state.last_beat_at >= longest_s

    def tick(self) -> bool:
        """Beat when it is due; otherwise only look for cancelled jobs."""
        leased_from = self._clock.since_boot()  # before all that it renews
        self._ticks_since = self._clock.monotonic()
        is_broken = True
        try:
            with within(TICK_PART * self._state.lease_s):
                has_reached = self._tick(self._ticks_since, leased_from)
            is_broken = False
        except StorageError as error:
            is_broken = isinstance(error, StorageMovedError)
            self._is_cut_off = True
            if isinstance(error, SchemaTooNewError):
                self._note_outdated(error)
            raise
        finally:
            self._is_broken = is_broken
            self._ticks_since = None
        if self._is_cut_off and has_reached:
            self._is_cut_off = False
            self._state.notify()
        return has_reached

    def _note_outdated(self, error: SchemaTooNewError) -> None:
        if not self._state.is_outdated:
            logger.error("claiming no more jobs: %s", error)
        self._state.is_outdated = True

    def _tick(self, now: float, leased_from: float) -> bool:
        """Do what is due; return whether the database was asked."""
        for execution in self._state.take_uncounted_starts(now - LONG_RUN_S):
            job = execution.job
            self._recorder.started(job.queue_name, job.kind, execution.wait_us)
        is_due = self._beat.is_due(now) or not self._state.is_fresh
        progress = self._take_progress()
        is_running = bool(self._state.running())
        if is_due or progress:
            self._beat_jobs(progress)
        elif is_running:
            self._cancel(self._jobs.cancelled(self._state.worker_id))
        has_looked = self._strays.give_back()
        # Last: who is seen to live keeps its jobs, so it must be able to renew them.
        is_shown = self._show_process(now, is_due=is_due)
        if is_due:
            self._beat.done(now)
            self._state.note_beat(now, leased_from)
            look_at_schema(self._database).require_readable()
        return is_due or bool(progress) or is_running or has_looked or is_shown

    def _show_process(self, now: float, *, is_due: bool) -> bool:
        state = self._state
        report = state.slot_reports()
        has_changed = report != self._reported
        who = state.worker_id, state.worker_name, state.queue_names
        ages = [duty.age for duty in self._duties]
        if is_due or (has_changed and self._report.is_due(now)):
            self._workers.beat(*who, report, ages)
            self._reported = report
            self._report.done(now)
        elif self._show.is_due(now):
            self._workers.show(*who, ages)
        else:
            return False
        self._show.done(now)
        state.shown_at = now
        return True

    def _take_progress(self) -> dict[RunId, str]:
        found = {}
        unwritten, self._unwritten = self._unwritten, {}
        for execution in self._state.running():
            text, execution.progress = execution.progress, None
            if text is None:
                text = unwritten.get(execution.job.run_id)
            if text is not None:
                found[execution.job.run_id] = text
        return found

    def _beat_jobs(self, progress: dict[RunId, str]) -> None:
        before = self._state.running()
        texts = {run.job_id: text for run, text in progress.items()}
        try:
            report = self._jobs.heartbeat(self._state.worker_id, texts)
        except NO_FAULT_OF_ROWS:  # nor of progress
            self._unwritten = progress
            raise
        self._cancel(report.cancelled)
        running = {id(execution) for execution in self._state.running()}
        for execution in before:
            is_ours = execution.job.run_id in report.owned
            if not is_ours and id(execution) in running:
                execution.token.cancel(CancelReason.LOST)
        self._strays.note(report.owned)

    def _cancel(self, job_ids: Sequence[str] | frozenset[str]) -> None:
        wanted = set(job_ids)
        if wanted:
            for execution in self._state.running():
                if execution.job.id in wanted:
                    execution.token.cancel(CancelReason.USER)
