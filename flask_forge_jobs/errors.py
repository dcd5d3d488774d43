"""Every exception the package raises.

All derive from :class:`ForgeJobsError`; no driver error gets out. Attributes carry the
data, so no caller parses a message. ``flask_forge_jobs/api/errors.py`` maps the classes
to HTTP statuses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self


class ForgeJobsError(Exception):
    """The base class of every exception of this package."""


class InvalidInputError(ForgeJobsError, ValueError):
    """An argument is not acceptable.

    Args:
        field: The argument or key path, such as ``max_attempts``.
        message: The fault, with the bound.
    """

    # In place of the message, in a text that clients do not read.
    _detail: str | None = None

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message

    def in_task(self, kind: str) -> Self:
        """Name the task in the text, if a part of its payload is wrong; return it."""
        first, *rest = re.split(r"(?=[.\[])", self.field, maxsplit=1)
        if first in ("arguments", "payload"):
            path = "".join(rest).lstrip(".")
            place = f"argument `{path}`" if path else "arguments"
            self.args = (f"{place} of `{kind}`: {self._detail or self.message}",)
        return self


class NotFoundError(ForgeJobsError, LookupError):
    """The named thing does not exist."""


class JobNotFoundError(NotFoundError):
    """No job has the id ``job_id``."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job has the id {job_id!r}")
        self.job_id = job_id


class QueueNotFoundError(NotFoundError):
    """No queue is named ``queue_name``."""

    def __init__(self, queue_name: str) -> None:
        super().__init__(f"no queue is named {queue_name!r}")
        self.queue_name = queue_name


class ScheduleNotFoundError(NotFoundError):
    """No cron schedule is named ``schedule_name``."""

    def __init__(self, schedule_name: str) -> None:
        super().__init__(f"no schedule is named {schedule_name!r}")
        self.schedule_name = schedule_name


class WorkerNotFoundError(NotFoundError):
    """No worker has the id ``worker_id``: it has stopped, or was lost long ago."""

    def __init__(self, worker_id: str) -> None:
        super().__init__(f"no worker has the id {worker_id!r}")
        self.worker_id = worker_id


class BulkRunNotFoundError(NotFoundError):
    """No bulk run has the id ``run_id``, or it ended long ago."""

    def __init__(self, run_id: str) -> None:
        super().__init__("there is no such bulk run")
        self.run_id = run_id


class BatchNotFoundError(NotFoundError):
    """No batch has the id ``batch_id``."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"no batch has the id {batch_id!r}")
        self.batch_id = batch_id


class RateLimitNotFoundError(NotFoundError):
    """No rate limit has the scope ``scope``; ``advice`` says how to get one."""

    def __init__(self, scope: str, advice: str = "") -> None:
        super().__init__(f"no rate limit has the scope {scope!r}{advice}")
        self.scope = scope


class ConflictError(ForgeJobsError):
    """The request conflicts with the current state; the same call may work later."""


class DuplicateJobError(ConflictError):
    """An unfinished job ``job_id`` of another ``kind`` holds the ``dedupe_key``."""

    def __init__(self, dedupe_key: str, job_id: str, kind: str) -> None:
        super().__init__(
            f"dedupe key {dedupe_key!r} is held by job {job_id} of kind {kind!r}"
        )
        self.dedupe_key = dedupe_key
        self.job_id = job_id
        self.kind = kind


class JobStateError(ConflictError):
    """The state of the job, ``status``, does not allow this."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"job {job_id} is {status}")
        self.job_id = job_id
        self.status = status


class CountDiffersError(ConflictError):
    """``matched`` jobs match, not ``expected``; nothing was changed."""

    def __init__(self, expected: int, matched: int) -> None:
        super().__init__(f"{matched} jobs match, {expected} were expected")
        self.expected = expected
        self.matched = matched


class TooManyBulkRunsError(ConflictError):
    """``bound`` bulk runs have not ended, ``whose`` says of whom; nothing was begun."""

    def __init__(self, bound: int, whose: str = "") -> None:
        super().__init__(
            f"{bound} bulk runs {whose}have not ended, the most at a time: "
            "stop one, or wait for one"
        )
        self.bound = bound


class ScheduleExistsError(ConflictError):
    """A cron schedule named ``schedule_name`` exists already."""

    def __init__(self, schedule_name: str) -> None:
        super().__init__(f"a schedule is named {schedule_name!r} already")
        self.schedule_name = schedule_name


class QueueExistsError(ConflictError):
    """A queue named ``queue_name`` exists already."""

    def __init__(self, queue_name: str) -> None:
        super().__init__(f"a queue is named {queue_name!r} already")
        self.queue_name = queue_name


class QueueNotEmptyError(ConflictError):
    """The queue cannot be deleted: it has ``job_count`` unfinished jobs."""

    def __init__(self, queue_name: str, job_count: int) -> None:
        super().__init__(f"queue {queue_name!r} still has {job_count} unfinished jobs")
        self.queue_name = queue_name
        self.job_count = job_count


class BatchEndedError(ConflictError):
    """The batch ``batch_id`` takes no more jobs: it has ended or is cancelled."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"batch {batch_id!r} has ended or is cancelled; make another batch"
        )
        self.batch_id = batch_id


class BatchUnfinishedError(ConflictError):
    """The batch cannot be deleted: ``job_count`` of its jobs are unfinished."""

    def __init__(self, batch_id: str, job_count: int) -> None:
        super().__init__(
            f"batch {batch_id!r} has not ended, with {job_count} unfinished jobs; "
            "cancel it first"
        )
        self.batch_id = batch_id
        self.job_count = job_count


class RequestKeyReusedError(ConflictError):
    """The request key ``key`` was used before, for a different request."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} was used for another request")
        self.key = key


class StaleSettingsError(ConflictError):
    """The settings have changed since the caller read them."""


class AlreadyRunningError(ConflictError):
    """The same operation is already running; try again in a moment."""


class RateLimitedError(ForgeJobsError):
    """A limit is used up.

    Args:
        retry_after_s: When to try again, in seconds from now, at least 1.
        what: The limit, for the message.
    """

    def __init__(self, retry_after_s: int, what: str = "rate limited") -> None:
        super().__init__(f"{what}; retry after {retry_after_s} s")
        self.retry_after_s = retry_after_s


class QueueFullError(RateLimitedError):
    """The queue is at its limit: ``waiting`` jobs wait in ``queue_name``."""

    RETRY_AFTER_S = 5

    def __init__(self, queue_name: str, waiting: int) -> None:
        super().__init__(
            self.RETRY_AFTER_S, f"queue {queue_name!r} is full, {waiting} jobs wait"
        )
        self.queue_name = queue_name
        self.waiting = waiting


class StorageError(ForgeJobsError):
    """The database failed; ``__cause__`` is the driver's error."""


class StorageBusyError(StorageError, ConflictError):
    """A lock or a serialization conflict outlasted every retry."""


class DedupeKeyTakenError(StorageBusyError):
    """Another transaction took the dedupe key between our read and our write."""


class StorageUnavailableError(StorageError):
    """The database could not be reached or did not answer in time."""


class StorageOutcomeUnknownError(StorageUnavailableError):
    """The answer to a commit was lost; the change may or may not be stored.

    Args:
        job_ids: The jobs that may be stored. It is safe to enqueue a job again with the
            same id: it is stored once.
    """

    def __init__(self, job_ids: Sequence[str] = ()) -> None:
        what = "the change may or may not be stored"
        if job_ids:
            more = f" and {len(job_ids) - 1} more" if len(job_ids) > 1 else ""
            what = f"job {job_ids[0]}{more} may or may not be stored"
        super().__init__(f"the database's answer was lost; {what}")
        self.job_ids = tuple(job_ids)


class StorageCorruptError(StorageError):
    """The file is not a SQLite database or is damaged; nothing was overwritten."""


class MigrationError(StorageError):
    """A migration to schema ``version`` failed, or this package cannot use it."""

    def __init__(self, version: int, message: str) -> None:
        super().__init__(f"schema version {version}: {message}")
        self.version = version
        self.message = message


class SchemaTooNewError(MigrationError):
    """A newer package has migrated the database; upgrade this one.

    Nothing was stored.

    Args:
        version: The schema version of the database.
        oldest_reader: The oldest schema version whose code may still use it.
        known: The newest schema version that this package knows.
    """

    def __init__(self, version: int, oldest_reader: int, known: int) -> None:
        super().__init__(
            version,
            f"this database needs code that knows schema {oldest_reader} or newer, "
            f"this package knows {known}; upgrade flask-forge-jobs",
        )
        self.oldest_reader = oldest_reader
        self.known = known


class ConfigurationError(ForgeJobsError):
    """A setting is wrong; raised at startup, never during a request.

    Args:
        key: The setting, such as ``FORGE_JOBS_DATABASE_URL``.
        message: The fault; contains no secret.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key
        self.message = message
