"""Renewal: keeps the running jobs of this worker its own, and stops those to stop.

One statement renews every running job and returns which ones are cancelled and which
are no longer ours. The lines that tasks log are written with it, between beats, too.
"""

from __future__ import annotations

from collections.abc import Iterable

from flask_forge_jobs.model.claims import RunId
from flask_forge_jobs.model.run_end import CancelReason
from flask_forge_jobs.model.run_logs import LogChunk
from flask_forge_jobs.model.steps import Checkpoint
from flask_forge_jobs.runtime.duties.strays import Strays
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.run.run_log import Reports, RunLog
from flask_forge_jobs.storage.database import NO_FAULT_OF_ROWS
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.recorder import Recorder

LONG_RUN_S = 1.0  # a run that is this old is counted as started before it ends
MAX_LOGS_PER_BEAT = 64  # runs; each may have 64 KiB to write


class Renewal:
    """Renews the jobs of a worker, and looks for cancelled ones in between."""

    def __init__(
        self,
        jobs: JobQueue,
        worker_id: str,
        handover: Handover,
        strays: Strays,
        recorder: Recorder,
    ) -> None:
        self._jobs = jobs
        self._worker_id = worker_id
        self._handover = handover
        self._strays = strays
        self._recorder = recorder
        self._unwritten: dict[RunId, str] = {}  # progress

    def renew(self, now: float, *, is_due: bool) -> bool:
        """Renew the jobs if that is due, and do the work in between.

        Returns:
            Whether the database was asked.
        """
        for execution in self._handover.take_uncounted_starts(now - LONG_RUN_S):
            job = execution.job
            self._recorder.started(job.queue_name, job.kind, execution.wait_us)
        progress, logs = self._take_progress(), self._unsaved_logs()
        saved = self._unstored_checkpoints()
        has_reports = bool(progress or logs or saved)
        is_running = bool(self._handover.running)
        if is_due or has_reports:
            self._beat(progress, logs, saved)
        elif is_running:
            self._cancel(self._jobs.cancelled(self._worker_id))
        has_looked = self._strays.give_back()
        return is_due or has_reports or is_running or has_looked

    def _take_progress(self) -> dict[RunId, str]:
        progress = {}
        unwritten, self._unwritten = self._unwritten, {}
        for execution in self._handover.running:
            meter = execution.progress
            text = None if meter is None else meter.take()
            if text is None:
                text = unwritten.get(execution.job.run_id)
            if text is not None:
                progress[execution.job.run_id] = text
        return progress

    def _unsaved_logs(self) -> list[tuple[RunLog, LogChunk]]:
        """Return the lines to write; if very many runs have some, the oldest ones."""
        logs: list[tuple[RunLog, LogChunk]] = []
        for execution in self._handover.running:
            if execution.reports is None or execution.reports.log is None:
                continue
            log = execution.reports.log
            chunk = log.unsaved()
            if chunk is not None:
                logs.append((log, chunk))
        logs.sort(key=_oldest)
        return logs[:MAX_LOGS_PER_BEAT]

    def _unstored_checkpoints(self) -> list[tuple[Reports, Checkpoint]]:
        saved: list[tuple[Reports, Checkpoint]] = []
        for execution in self._handover.running:
            if execution.reports is not None:
                checkpoint = execution.reports.saved
                if checkpoint is not None:
                    saved.append((execution.reports, checkpoint))
        return saved

    def _beat(
        self,
        progress: dict[RunId, str],
        logs: list[tuple[RunLog, LogChunk]],
        saved: list[tuple[Reports, Checkpoint]],
    ) -> None:
        before = self._handover.running
        texts = {run.job_id: text for run, text in progress.items()}
        chunks = [chunk for _, chunk in logs]
        try:
            report = self._jobs.heartbeat(
                self._worker_id, texts, chunks, [each for _, each in saved]
            )
        except NO_FAULT_OF_ROWS:  # nor of progress, lines or checkpoints
            logs.clear()
            saved.clear()
            self._unwritten = progress
            raise
        finally:  # what the database refuses must not stop the next beat
            for log, chunk in logs:
                log.note_stored(chunk)
            for reports, checkpoint in saved:
                reports.note_stored(checkpoint)
        self._cancel(report.cancelled)
        running = {id(execution) for execution in self._handover.running}
        for execution in before:
            is_ours = execution.job.run_id in report.owned
            if not is_ours and id(execution) in running:
                execution.token.cancel(CancelReason.LOST)
        self._strays.note(report.owned)

    def _cancel(self, job_ids: Iterable[str]) -> None:
        cancelled = set(job_ids)
        if cancelled:
            for execution in self._handover.running:
                if execution.job.id in cancelled:
                    execution.token.cancel(CancelReason.USER)


def _oldest(each: tuple[RunLog, LogChunk]) -> int:
    return each[1].lines[0].at_us
