"""RanJob: a run of a job, for a test to check."""

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
        job: The stored job after the run.
        outcome: :class:`Done`, :class:`Throttled`, :class:`Dead` or a failure.
        error: The exception of the task with its traceback, or None.
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
        """The stored arguments, by name."""
        return load_text(self.job.payload)

    @property
    def status(self) -> JobStatus:
        """The state after the run; ``failed`` waits for a retry."""
        return self.job.status

    @property
    def result(self) -> Any:
        """The stored result, or None."""
        return None if self.job.result is None else load_text(self.job.result)

    @property
    def result_error(self) -> str | None:
        """Why the result was not stored, or None."""
        return self.job.result_error

    def __repr__(self) -> str:
        error = f" {self.error!r}" if self.error is not None else ""
        return f"<{self.kind} {self.job.payload} {self.status}{error}>"
