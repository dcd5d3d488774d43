"""Strays: jobs that the database has for this worker although it does not know them.

The answer to a claim can get lost after its commit. It may also just be late, so that
the job still starts here. So a job that a heartbeat finds claimed for this worker but
unknown to it counts as a *stray* only once every claim that had started by then has
ended.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.logs import get_logger
from flask_forge_jobs.model.claims import RunId
from flask_forge_jobs.runtime.loop.handover import Handover
from flask_forge_jobs.runtime.loop.rounds import Claims
from flask_forge_jobs.runtime.loop.writer import OutcomeWriter
from flask_forge_jobs.runtime.run.execution import Execution
from flask_forge_jobs.storage.jobs.queue import JobQueue

logger = get_logger(__name__)

_LOST_ANSWER = "the answer to the claim of job %s was lost; given back"


class Strays:
    """Finds strays and gives them back."""

    def __init__(
        self,
        jobs: JobQueue,
        handover: Handover,
        writer: OutcomeWriter,
        claims: Claims,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._handover = handover
        self._writer = writer
        self._claims = claims
        self._clock = clock
        # From each run to the number of the latest claim at its first sight.
        self._first_seen: dict[RunId, int] = {}

    def note(self, owned: AbstractSet[RunId]) -> None:
        """Record which runs the database has for this worker."""
        newest = self._claims.begun
        known = self._writer.runs()
        self._first_seen = {
            run: self._first_seen.get(run, newest) for run in owned if run not in known
        }

    def give_back(self) -> bool:
        """Give back the runs that no claim in progress can deliver any more.

        Return whether there were any.
        """
        ended = self._claims.ended
        due = {run for run, newest in self._first_seen.items() if newest <= ended}
        if not due:
            return False
        for run in due:
            del self._first_seen[run]
        # In this order: a run that ends in between is no longer held.
        known = self._writer.runs()
        now = self._clock.monotonic()
        strays = [
            Execution(job, now)
            for job in self._jobs.held(self._writer.worker_id)
            if job.run_id in due and job.run_id not in known
        ]
        for stray in strays:
            logger.warning(_LOST_ANSWER, stray.job.id)
        self._handover.give_back(strays)
        return True

    def give_back_all(self) -> None:
        """Give back all that this worker still holds after the dispatcher's end."""
        strays = self._jobs.held(self._writer.worker_id)
        for job in strays:
            logger.warning(_LOST_ANSWER, job.id)
        self._writer.give_back(strays, self._clock.monotonic())
