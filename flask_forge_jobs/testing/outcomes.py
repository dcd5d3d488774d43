"""RanJob: what a test sees of a job that has been run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask_forge_jobs.model.jobs import Job, JobStatus
from flask_forge_jobs.model.outcomes import Outcome
from flask_forge_jobs.model.payloads import load_text


@dataclass(frozen=True, slots=True, repr=False)
class RanJob:
    """One run of a job.

    Args:
        job: The job as it is stored after the run.
        outcome: :class:`Done`, :class:`Throttled`, :class:`Dead` or a failure.
        error: The exception that the task raised, with its traceback; None when it
            returned.
    """

    job: Job
    outcome: Outcome
    error: BaseException | None

    @property
    def kind(self) -> str:
        """The kind of the job."""
        return self.job.kind

    @property
    def args(self) -> Any:
        """The arguments by parameter, as they are stored."""
        return load_text(self.job.payload)

    @property
    def status(self) -> JobStatus:
        """The state after the run: ``failed`` waits for a retry."""
        return self.job.status

    @property
    def result(self) -> Any:
        """What the task returned, as it is stored; None when nothing is."""
        return None if self.job.result is None else load_text(self.job.result)

    @property
    def result_error(self) -> str | None:
        """Why what the task returned is not kept; None when it is."""
        return self.job.result_error

    def __repr__(self) -> str:
        """Name kind, arguments and state, and what went wrong."""
        error = f" {self.error!r}" if self.error is not None else ""
        return f"<{self.kind} {self.job.payload} {self.status}{error}>"
