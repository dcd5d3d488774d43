"""Strays: jobs that the database says are ours and that nobody here knows of.

The answer to a claim may be lost after its commit. It may also be late, and then the
job is no stray: it would start here and somewhere else. So whatever a beat finds and
nobody knows waits until every claim that had begun by then is over.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import RunId
from flask_forge_jobs.runtime.execution import Execution
from flask_forge_jobs.runtime.outcome_writer import OutcomeWriter
from flask_forge_jobs.runtime.state import WorkerState
from flask_forge_jobs.storage.jobs.queue import JobQueue

logger = get_logger(__name__)

_TOLD = "job %s was claimed without our knowing; given back"


class Strays:
    """Finds them and gives them back."""

    def __init__(self, jobs: JobQueue, state: WorkerState) -> None:
        self._jobs = jobs
        self._state = state
        # The number of the newest claim when a beat first found the run.
        self._found: dict[RunId, int] = {}

    def note(self, owned: AbstractSet[RunId]) -> None:
        """Note what the database says is ours."""
        with self._state.lock:
            newest = self._state.claims.newest  # at least, for those that are owned
        known = self._state.runs()
        self._found = {
            run: self._found.get(run, newest) for run in owned if run not in known
        }

    def give_back(self) -> None:
        """Give back those that no claim under way can bring any more."""
        with self._state.lock:
            due = {
                run
                for run, newest in self._found.items()
                if self._state.claims.have_ended(newest)
            }
        if not due:
            return
        for run in due:
            del self._found[run]
        # In this order: what was known and has ended since is not held any more.
        known = self._state.runs()
        now = self._state.clock.monotonic()
        strays = [
            Execution(job, now)
            for job in self._jobs.held(self._state.worker_id)
            if job.run_id in due and job.run_id not in known
        ]
        for stray in strays:
            logger.warning(_TOLD, stray.job.id)
        self._state.give_back(strays)


def release_strays(jobs: JobQueue, state: WorkerState, writer: OutcomeWriter) -> None:
    """Give back whatever is still said to be ours once the dispatcher has ended.

    Raises:
        StorageError: The database could not be asked.
    """
    strays = jobs.held(state.worker_id)
    for job in strays:
        logger.warning(_TOLD, job.id)
    writer.release(strays)
