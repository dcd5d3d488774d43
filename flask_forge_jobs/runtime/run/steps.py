"""Steps of the runs of a worker: stored as the run's own, while it lasts."""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.model.steps import Checkpoint, KeptSteps
from flask_forge_jobs.runtime.run.run_log import ReportingRun, reports_of
from flask_forge_jobs.storage.jobs.steps import StepStore

SaveCheckpoint = Callable[[ReportingRun, Checkpoint], None]


def keep_checkpoint(run: ReportingRun, checkpoint: Checkpoint) -> None:
    """Keep a checkpoint for the next heartbeat, or for the end of the run."""
    reports_of(run).saved = checkpoint


class StoredSteps:
    """Keeps steps in the store. The first run of a job reads nothing."""

    def __init__(
        self,
        store: StepStore,
        worker_id: str,
        save_checkpoint: SaveCheckpoint = keep_checkpoint,
    ) -> None:
        self._store = store
        self._worker_id = worker_id
        self._save_checkpoint = save_checkpoint

    def kept(self, run: ReportingRun) -> KeptSteps:
        """Return what the earlier runs of the job have kept."""
        return KeptSteps() if run.job.claim == 1 else self._store.kept(run.job.id)

    def keep(self, run: ReportingRun, name: str, result: str) -> bool:
        """Store a result; return False if the worker has lost the job."""
        return self._store.keep(run.job.run_id, self._worker_id, name, result)

    def save(self, run: ReportingRun, text: str) -> None:
        """Store a checkpoint soon."""
        self._save_checkpoint(run, Checkpoint(run.job.run_id, text))
