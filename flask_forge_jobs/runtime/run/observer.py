"""Observer: hears of stored jobs, of runs and of workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_forge_jobs.model.claims import ClaimedJob
    from flask_forge_jobs.model.jobs import EnqueueResult
    from flask_forge_jobs.model.outcomes import Outcome
    from flask_forge_jobs.tasks.context import TaskContext
    from flask_forge_jobs.tasks.registry import Runnable


class Observer:
    """Observes jobs and workers; this one does nothing, and is the base of others."""

    def run(self, task: Runnable, context: TaskContext, job: ClaimedJob) -> Outcome:
        """Run a task and return its outcome."""
        return task.run(context, job.payload)

    def enqueued(self, results: Sequence[EnqueueResult]) -> None:
        """Called once jobs are stored."""

    def worker_started(self, worker_id: str, queues: Sequence[str]) -> None:
        """Called when a worker has started."""

    def worker_stopped(self, worker_id: str, queues: Sequence[str]) -> None:
        """Called when a worker has shut down cleanly."""


NOBODY = Observer()
