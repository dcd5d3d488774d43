"""JobHandle: one job, as the code sees it that enqueued it or knows its id."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, Self

from flask_forge_jobs.errors import InvalidInputError, JobNotFoundError
from flask_forge_jobs.model.bounds import check_seconds, check_text
from flask_forge_jobs.model.jobs import (
    CancelOutcome,
    EnqueueResult,
    Job,
    JobStatus,
)
from flask_forge_jobs.model.outcomes import MAX_REASON_LENGTH
from flask_forge_jobs.model.payloads import load_text
from flask_forge_jobs.storage.base import Storage

_LONGEST_ID = 64


class Home(Protocol):
    """Where the job of a handle is kept."""

    @property
    def storage(self) -> Storage:
        """The stores."""

    @property
    def status_url(self) -> Callable[[str, float], str]:
        """Returns the status link of a job that expires in so many seconds."""


class JobHandle:
    """A job that was enqueued; what ``task.enqueue()`` and ``forge.job(id)`` return.

    Making one reads nothing. While the job goes on, each attribute reads its row anew;
    once it has ended the row is kept, and :meth:`refresh` reads it again. What the job
    is enqueued with is known without a look.

    Every attribute but ``id``, ``exists`` and ``is_deduped`` raises
    :class:`.JobNotFoundError` for a job that is not stored, or not committed yet, and
    :class:`.StorageError` when the database cannot be asked.

    Attributes:
        id: The job's id.
    """

    __slots__ = ("_home", "_kept", "_request", "id")

    def __init__(
        self, home: Home, job_id: str, request: EnqueueResult | None = None
    ) -> None:
        self.id = job_id
        self._home = home
        self._request = request
        self._kept: Job | None = None

    def __repr__(self) -> str:
        """Name the job; reads nothing."""
        return f"<JobHandle {self.id}>"

    # -- what it was enqueued with ---------------------------------------------------

    @property
    def kind(self) -> str:
        """The kind of the job."""
        return (self._request or self._row()).kind

    @property
    def queue_name(self) -> str:
        """The queue it was put in."""
        return (self._request or self._row()).queue_name

    @property
    def scheduled_at(self) -> datetime:
        """When it may first start."""
        return (self._request or self._row()).scheduled_at

    @property
    def is_deduped(self) -> bool:
        """Whether the request found this job, which held its dedupe key already."""
        return self._request is not None and self._request.is_deduped

    @property
    def is_replaced(self) -> bool:
        """Whether the request's payload or time took the place of the job's."""
        return self._request is not None and self._request.is_replaced

    # -- what has become of it -------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether the job is stored: False for an id that no job has."""
        try:
            self._row()
        except JobNotFoundError:
            return False
        return True

    @property
    def status(self) -> JobStatus:
        """The state: ``failed`` waits for a retry, ``done`` and ``dead`` are final."""
        return self._row().status

    @property
    def is_ready(self) -> bool:
        """Whether it has ended, well or not."""
        return self._row().status.is_final

    @property
    def is_successful(self) -> bool:
        """Whether it has ended and its task has returned."""
        return self._row().status is JobStatus.DONE

    @property
    def result(self) -> Any:
        """What the task returned, as JSON keeps it; None before that."""
        return _decoded(self._row().result)

    @property
    def result_error(self) -> str | None:
        """Why what the task returned is not kept: no JSON, or over 64 KiB."""
        return self._row().result_error

    @property
    def progress(self) -> Any:
        """What the task reported last; None before that."""
        return _decoded(self._row().progress)

    @property
    def error(self) -> str | None:
        """The last error, such as ``KeyError: 'id'``, also while a retry waits."""
        return self._row().last_error

    @property
    def traceback(self) -> str | None:
        """Where the last error came from, its secrets masked."""
        return self._row().traceback

    def refresh(self) -> Self:
        """Read the row now, also of a job that had ended; it may run again by now."""
        self._kept = None
        self._row()
        return self

    def wait(self, timeout_s: float) -> bool:
        """Wait until the job has ended.

        The worker that ends it says so, and that arrives within milliseconds; where
        nothing can be sent, such as through PgBouncer, or when an operator ends the
        job, it takes up to a second. A task that waits for another job keeps its slot.

        Args:
            timeout_s: Seconds to wait at most; 0 only looks.

        Returns:
            Whether it has ended.

        Raises:
            InvalidInputError: ``timeout_s`` is no number of seconds.
        """
        check_seconds("timeout_s", timeout_s, 0, math.inf)
        ends = self._home.storage.jobs.ends
        return ends.wait(self.id, lambda: self.is_ready, timeout_s)

    def status_url(self, expires_in_s: float = 3600.0) -> str:
        """Return a link at which a browser may follow this one job, without signing in.

        It answers with state, progress and result, masked as everywhere, and gives no
        other right. It needs the application's ``SECRET_KEY``, and outside a request
        its ``SERVER_NAME``; see :doc:`/howto/results`.

        Args:
            expires_in_s: Seconds until the link ends, 1 to 366 days.

        Raises:
            ConfigurationError: There is no secret to sign it with.
            InvalidInputError: ``expires_in_s`` is outside its bounds.
            RuntimeError: Flask does not know under which address it is reached.
        """
        return self._home.status_url(self.id, expires_in_s)

    # -- what can be done about it ---------------------------------------------------

    def cancel(self, reason: str | None = None) -> CancelOutcome:
        """End the job if it waits, or ask it to stop if it runs.

        Args:
            reason: Up to 1,000 characters for the last error of a job that waits.

        Returns:
            ``cancelled``, or ``cancel_requested`` of a job that runs: it ends ``dead``
            unless its task still returns.

        Raises:
            InvalidInputError: The reason is too long.
            JobStateError: The job has ended.
        """
        if reason:
            check_text("reason", reason, MAX_REASON_LENGTH)
        return self._home.storage.job_admin.cancel(self._checked_id(), reason)

    def retry(self) -> bool:
        """Give a job that failed or is dead a full new budget of attempts, due now.

        Returns:
            False when it waits, runs or is done, or when an unfinished job has taken
            over its dedupe key.
        """
        self._kept = None
        self._row()
        self._kept = None
        return self._home.storage.job_admin.requeue(self.id)

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


def _decoded(text: str | None) -> Any:
    return None if text is None else load_text(text)
