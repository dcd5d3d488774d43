"""Every exception the package raises.

One tree, so that a caller can catch :class:`ForgeJobsError` and be sure that no
driver error crosses the border. Fields carry data; nobody has to parse a message.
The statuses these classes get on the wire stand in one table,
``flask_forge_jobs/api/errors.py``; this module knows nothing of HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence


class ForgeJobsError(Exception):
    """The base class of everything this package raises on purpose."""


class InvalidInputError(ForgeJobsError, ValueError):
    """An argument is outside what the queue accepts.

    Args:
        field: Name of the argument or of the key path, such as ``max_attempts``.
        message: What is wrong, with the bound that was broken.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class NotFoundError(ForgeJobsError, LookupError):
    """Something that was named does not exist."""


class JobNotFoundError(NotFoundError):
    """No job has the given id.

    Args:
        job_id: The id that was asked for.
    """

    def __init__(self, job_id: str) -> None:
        super().__init__(f"no job has the id {job_id!r}")
        self.job_id = job_id


class QueueNotFoundError(NotFoundError):
    """No queue is registered under the given name.

    Args:
        queue_name: The name that was asked for.
    """

    def __init__(self, queue_name: str) -> None:
        super().__init__(f"no queue is named {queue_name!r}")
        self.queue_name = queue_name


class ScheduleNotFoundError(NotFoundError):
    """No cron schedule has the given name.

    Args:
        schedule_name: The name that was asked for.
    """

    def __init__(self, schedule_name: str) -> None:
        super().__init__(f"no schedule is named {schedule_name!r}")
        self.schedule_name = schedule_name


class RateLimitNotFoundError(NotFoundError):
    """No token bucket has the given scope.

    Args:
        scope: The scope that was asked for.
    """

    def __init__(self, scope: str) -> None:
        super().__init__(f"no rate limit has the scope {scope!r}")
        self.scope = scope


class ConflictError(ForgeJobsError):
    """The request contradicts the present state; the same call may work later."""


class DuplicateJobError(ConflictError):
    """A dedupe key is held by an unfinished job of another kind.

    Args:
        dedupe_key: The key.
        job_id: The job that holds it.
        kind: That job's kind.
    """

    def __init__(self, dedupe_key: str, job_id: str, kind: str) -> None:
        super().__init__(
            f"dedupe key {dedupe_key!r} is held by job {job_id} of kind {kind!r}"
        )
        self.dedupe_key = dedupe_key
        self.job_id = job_id
        self.kind = kind


class JobStateError(ConflictError):
    """A job is in a state in which this cannot be done to it.

    Args:
        job_id: The job.
        status: Its state, such as ``done``.
    """

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"job {job_id} is {status}")
        self.job_id = job_id
        self.status = status


class CountDiffersError(ConflictError):
    """More or fewer jobs match than the caller expects; nothing was changed.

    Args:
        expected: How many the caller expects.
        matched: How many match.
    """

    def __init__(self, expected: int, matched: int) -> None:
        super().__init__(f"{matched} jobs match, {expected} were expected")
        self.expected = expected
        self.matched = matched


class ScheduleExistsError(ConflictError):
    """A cron schedule of the given name is there already.

    Args:
        schedule_name: The name that is taken.
    """

    def __init__(self, schedule_name: str) -> None:
        super().__init__(f"a schedule is named {schedule_name!r} already")
        self.schedule_name = schedule_name


class QueueExistsError(ConflictError):
    """A queue is registered under the given name already.

    Args:
        queue_name: The name.
    """

    def __init__(self, queue_name: str) -> None:
        super().__init__(f"a queue is named {queue_name!r} already")
        self.queue_name = queue_name


class QueueNotEmptyError(ConflictError):
    """A queue cannot be deleted while it still has unfinished jobs.

    Args:
        queue_name: The queue.
        job_count: How many unfinished jobs it still has.
    """

    def __init__(self, queue_name: str, job_count: int) -> None:
        super().__init__(f"queue {queue_name!r} still has {job_count} unfinished jobs")
        self.queue_name = queue_name
        self.job_count = job_count


class RequestKeyReusedError(ConflictError):
    """A request key has been used before for a request that asked for something else.

    Args:
        key: The key.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} was used for another request")
        self.key = key


class StaleSettingsError(ConflictError):
    """The settings have been changed since the caller read them."""


class AlreadyRunningError(ConflictError):
    """The same work is under way; it makes sense to try again in a moment."""


class RateLimitedError(ForgeJobsError):
    """A limit is used up.

    Args:
        retry_after_s: Seconds after which a new try makes sense, at least 1.
        what: Which limit, if there is more to say.
    """

    def __init__(self, retry_after_s: int, what: str = "rate limited") -> None:
        super().__init__(f"{what}; retry after {retry_after_s} s")
        self.retry_after_s = retry_after_s


class QueueFullError(RateLimitedError):
    """As many jobs wait in a queue as may; workers have to catch up first.

    Args:
        queue_name: The queue.
        waiting: How many jobs wait in it.
    """

    RETRY_AFTER_S = 5

    def __init__(self, queue_name: str, waiting: int) -> None:
        super().__init__(
            self.RETRY_AFTER_S, f"queue {queue_name!r} is full, {waiting} jobs wait"
        )
        self.queue_name = queue_name
        self.waiting = waiting


class StorageError(ForgeJobsError):
    """The database refused or failed; the cause carries the driver's error."""


class StorageBusyError(StorageError, ConflictError):
    """A lock or a serialization conflict outlasted every retry."""


class DedupeKeyTakenError(StorageBusyError):
    """Another transaction took a dedupe key between our look and our write."""


class StorageUnavailableError(StorageError):
    """The database could not be reached or did not answer within the deadline."""


class StorageOutcomeUnknownError(StorageUnavailableError):
    """The answer to a commit was lost: what was asked is done or it is not.

    Args:
        job_ids: The jobs that may be stored, if it was jobs that were asked for. Who
            enqueues one of them again under its id stores it once.
    """

    def __init__(self, job_ids: Sequence[str] = ()) -> None:
        what = "it may be done or not"
        if job_ids:
            more = f" and {len(job_ids) - 1} more" if len(job_ids) > 1 else ""
            what = f"job {job_ids[0]}{more} may be stored or not"
        super().__init__(f"the answer of the database was lost; {what}")
        self.job_ids = tuple(job_ids)


class StorageCorruptError(StorageError):
    """The database file is not a database or is damaged; nothing was overwritten."""


class MigrationError(StorageError):
    """A schema step failed, or the schema does not fit this version of the package.

    Args:
        version: The schema version concerned.
        message: What happened.
    """

    def __init__(self, version: int, message: str) -> None:
        super().__init__(f"schema version {version}: {message}")
        self.version = version
        self.message = message


class SchemaTooNewError(MigrationError):
    """A newer package has migrated the database beyond what this one may work on.

    Nothing was stored, and nothing will be until this package is upgraded.

    Args:
        version: The schema version of the database.
        oldest_reader: The lowest version whose code may still work on it.
        known: The newest version that this package knows.
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
    """A setting is wrong; raised at start, never inside a request.

    Args:
        key: The setting, for instance ``FORGE_JOBS_DATABASE_URL``.
        message: What is wrong, without secrets.
    """

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{key}: {message}")
        self.key = key
        self.message = message
