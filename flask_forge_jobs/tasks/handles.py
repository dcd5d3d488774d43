"""JobHandle: a job to look at, wait for, cancel or retry."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, Self

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.model.bounds import check_seconds, check_text
from flask_forge_jobs.model.endings import Ending
from flask_forge_jobs.model.jobs import EnqueueResult, Job, JobStatus, NewJob
from flask_forge_jobs.model.outcomes import MAX_REASON_LENGTH
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.model.progress import report_of
from flask_forge_jobs.tasks.other_words import OF_JOBS, teach

if TYPE_CHECKING:
    from flask_forge_jobs.model.bulk import CancelOutcome
    from flask_forge_jobs.storage.base import Storage

_LONGEST_ID = 64


class HandleStorage(Protocol):
    """The application of a handle."""

    @property
    def storage(self) -> Storage:
        """The stores."""

    @property
    def status_url(self) -> Callable[[str, float], str]:
        """Takes a job's id and the seconds for which the link is valid."""


class JobHandle:
    """A job, as ``task.enqueue()`` and ``forge.job(id)`` return it.

    For example::

        job = send_welcome.enqueue(user_id=7)
        if job.wait(timeout_s=5) and job.is_successful:
            print(job.result)

    Each attribute reads the job's row until the job has ended; then the row is kept,
    and
    :meth:`refresh` reads it again. Values from the enqueue need no read.

    Every attribute but ``id``, ``exists`` and ``is_deduped`` raises
    :class:`.JobNotFoundError` if the job is not stored or not committed yet, and
    :class:`.StorageError` if the database cannot be read.

    Attributes:
        id: The job's id.
    """

    __slots__ = ("_home", "_kept", "_request", "id")

    def __init__(
        self, home: HandleStorage, job_id: str, request: EnqueueResult | None = None
    ) -> None:
        self.id = job_id
        self._home = home
        self._request = request
        self._kept: Job | None = None

    def __repr__(self) -> str:
        return f"<JobHandle {self.id}>"

    @property
    def kind(self) -> str:
        """The kind of the job."""
        return (self._request or self._row()).kind

    @property
    def queue_name(self) -> str:
        """Its queue."""
        return (self._request or self._row()).queue_name

    @property
    def scheduled_at(self) -> datetime:
        """When it may start."""
        return (self._request or self._row()).scheduled_at

    @property
    def is_deduped(self) -> bool:
        """Whether no new job was stored because this one held the dedupe key."""
        return self._request is not None and self._request.is_deduped

    @property
    def is_replaced(self) -> bool:
        """Whether the enqueue replaced the payload or time of the existing job."""
        return self._request is not None and self._request.is_replaced

    @property
    def exists(self) -> bool:
        """Whether the job is stored."""
        try:
            self._row()
        except JobNotFoundError:
            return False
        return True

    @property
    def status(self) -> JobStatus:
        """Its state; ``failed`` waits for a retry, ``done`` and ``dead`` are final."""
        return self._row().status

    @property
    def is_ready(self) -> bool:
        """Whether it has ended, with or without success."""
        return self._row().status.is_final

    @property
    def is_successful(self) -> bool:
        """Whether it has ended with success."""
        return self._row().status is JobStatus.DONE

    @property
    def is_cancelled(self) -> bool:
        """Whether it has ended because a user cancelled it; it is ``dead`` then."""
        return self._row().ending is Ending.CANCELLED

    @property
    def result(self) -> Any:
        """The result of the task, after a round trip through JSON; None before."""
        text = self._row().result
        return None if text is None else load_text(text)

    @property
    def result_error(self) -> str | None:
        """Why the result was not stored (not JSON, or over 64 KiB), or None."""
        return self._row().result_error

    @property
    def progress(self) -> Any:
        """The last progress report, or None."""
        text = self._row().progress
        return None if text is None else report_of(text)

    @property
    def error(self) -> str | None:
        """The last error, such as ``KeyError: 'id'``, also before a retry."""
        return self._row().last_error

    @property
    def traceback(self) -> str | None:
        """The traceback of the last error, with secrets masked."""
        return self._row().traceback

    def refresh(self) -> Self:
        """Read the row again, also of an ended job, which may have been retried."""
        self._kept = None
        self._row()
        return self

    def wait(self, timeout_s: float) -> bool:
        """Wait until the job has ended; return whether it has.

        The worker notifies within milliseconds. It takes up to a second where
        notifications do not pass, such as through PgBouncer, or if an operator ends the
        job. A task that waits for another job keeps its slot.

        Args:
            timeout_s: Most seconds to wait; 0 only checks.

        Raises:
            InvalidInputError: ``timeout_s`` is not a number of seconds.
        """
        check_seconds("timeout_s", timeout_s, 0, math.inf)
        ends = self._home.storage.jobs.ends
        return ends.wait(self.id, lambda: self.is_ready, timeout_s)

    def status_url(self, expires_in_s: float = 3600.0) -> str:
        """Return a link that shows this job to a browser without signing in.

        It shows state, progress and result, masked, and allows nothing else. It needs
        the application's ``SECRET_KEY`` and, outside a request, ``SERVER_NAME``; see
        :doc:`/howto/results`.

        Args:
            expires_in_s: Seconds until the link expires, up to 366 days; default 3600.

        Raises:
            ConfigurationError: There is no secret to sign it with.
            InvalidInputError: ``expires_in_s`` is out of bounds.
            RuntimeError: Flask does not know the address of the application.
        """
        return self._home.status_url(self.id, expires_in_s)

    def cancel(self, reason: str | None = None) -> CancelOutcome:
        """Cancel the job if it waits, or ask it to stop if it runs.

        Args:
            reason: Becomes part of the last error, up to 1,000 characters.

        Returns:
            ``cancelled``, or ``cancel_requested`` for a running job, which ends
            ``dead`` unless its task still returns.

        Raises:
            InvalidInputError: The reason is too long.
            JobStateError: The job has ended.
        """
        if reason:
            check_text("reason", reason, MAX_REASON_LENGTH)
        return self._home.storage.job_admin.cancel(self._checked_id(), reason)

    def retry(self, *, restart: bool = False, dependents: bool = False) -> bool:
        """Run a failed or dead job again now, with all its attempts.

        Args:
            restart: Begin with the first step again; by default the job goes on behind
                the last one that it has kept.
            dependents: Whether the jobs that died with it wait for it again.

        Returns:
            False if it waits, runs or is done, or if another unfinished job holds its
            dedupe key.
        """
        self._kept = None
        self._row()
        self._kept = None
        return self._home.storage.job_admin.requeue(
            self.id, restart=restart, dependents=dependents
        )

    def release(self) -> None:
        """Let the job wait for no other one: it is due once its own time has come.

        Raises:
            JobStateError: The job does not wait for others.
        """
        self._home.storage.links.release(self._checked_id())

    def become(self, request: EnqueueResult) -> None:
        """Take the result of the enqueue, which may be another job."""
        self.id, self._request = request.id, request

    def _row(self) -> Job:
        if self._kept is not None:
            return self._kept
        job = self._home.storage.job_reader.get(self._checked_id())
        if job.status.is_final:
            self._kept = job
        return job

    def _checked_id(self) -> str:
        try:
            return check_text("id", self.id, _LONGEST_ID)
        except InvalidInputError:
            raise JobNotFoundError(str(self.id)[:_LONGEST_ID]) from None


class StoreJob(Protocol):
    """Stores the job of a task."""

    def __call__(self, job: NewJob, *, connection: object | None = None) -> JobHandle:
        """Store a job; see :meth:`.JobQueue.enqueue`."""


class StoreJobs(Protocol):
    """Stores several jobs of a task, all or none."""

    def __call__(
        self, jobs: Sequence[NewJob], *, connection: object | None = None
    ) -> list[JobHandle]:
        """Store the jobs; see :meth:`.JobQueue.enqueue_many`."""


teach(JobHandle, OF_JOBS)
