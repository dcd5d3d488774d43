"""The stores of one database, and how to open them from settings."""

from __future__ import annotations

import atexit
import contextlib
import platform
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.database import ChosenDatabase, DatabaseSettings
from flask_forge_jobs.errors import ConfigurationError, StorageError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.masking import KNOWN, Masking
from flask_forge_jobs.randomness import fraction
from flask_forge_jobs.storage.audit import AuditLog
from flask_forge_jobs.storage.catalogue import load_migrations
from flask_forge_jobs.storage.cron import CronStorage
from flask_forge_jobs.storage.database import Database
from flask_forge_jobs.storage.flusher import Flusher
from flask_forge_jobs.storage.jobs.activity import JobActivity
from flask_forge_jobs.storage.jobs.admin import JobAdmin
from flask_forge_jobs.storage.jobs.follow_ups import FollowUpStore
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.jobs.reader import JobReader
from flask_forge_jobs.storage.limits import ConcurrencyLimits, RateLimits
from flask_forge_jobs.storage.metrics import MetricStore
from flask_forge_jobs.storage.pace import Pace
from flask_forge_jobs.storage.queues import QueueConfig
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.refusals import Refusals
from flask_forge_jobs.storage.retention import GENTLE_PAUSES, Retention
from flask_forge_jobs.storage.samples import SampleStore
from flask_forge_jobs.storage.uncommitted import Uncommitted
from flask_forge_jobs.storage.units import UnitExecutor
from flask_forge_jobs.storage.workers import Leases, WorkerRegistry


@dataclass(frozen=True, slots=True)
class StorageInfo:
    """Facts about the database, as ordered pairs of text."""

    backend: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class OpenSnapshot:
    """The oldest open transaction of a database, which holds up its clean-up.

    Args:
        age_s: Seconds since it began.
        holder: A session with its server process, or a prepared transaction's name.
    """

    age_s: float
    holder: str


_opened: weakref.WeakSet[Storage] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Store the last figures and close every open storage."""
    for storage in list(_opened):
        with contextlib.suppress(StorageError):
            storage.close()


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Storage:
    """The stores of one database.

    The database opens at the first use. Each process opens its own connections, so a
    Storage may be made before a fork and used after it.
    """

    database: Database
    jobs: JobQueue
    job_reader: JobReader
    activity: JobActivity
    job_admin: JobAdmin
    queues: QueueConfig
    workers: WorkerRegistry
    audit: AuditLog
    refusals: Refusals
    follow_ups: FollowUpStore
    cron: CronStorage
    rate_limits: RateLimits
    concurrency: ConcurrencyLimits
    leases: Leases
    retention: Retention
    metrics: MetricStore
    samples: SampleStore
    recorder: Recorder
    flusher: Flusher

    def __post_init__(self) -> None:
        _opened.add(self)

    @property
    def backend(self) -> str:
        """``sqlite`` or ``postgres``."""
        return self.database.backend

    @property
    def masking(self) -> Masking:
        """Masks every error, reason and report of progress before it is stored."""
        return self.jobs.masking

    def open(self) -> None:
        """Connect and migrate now; see :meth:`Database.open`."""
        self.database.open()

    def takes_writes(self) -> bool:
        """Return what :meth:`Database.takes_writes` does."""
        return self.database.takes_writes()

    def oldest_snapshot(self) -> OpenSnapshot | None:
        """Return the oldest transaction that keeps PostgreSQL from cleaning up.

        None if our role sees none; always None on SQLite.

        Raises:
            StorageError: The database does not answer.
        """
        rows = self.database.read_one("oldest_snapshot")
        return OpenSnapshot(*rows[0]) if rows else None

    def describe(self) -> StorageInfo:
        """Return facts about the live connection."""
        *facts, driver = self.database.describe()
        ours = (
            ("package_version", version("flask-forge-jobs")),
            ("schema_version", str(load_migrations(self.backend)[-1].version)),
            ("python_version", platform.python_version()),
        )
        return StorageInfo(self.backend, (*facts, *ours, driver))

    def close(self) -> None:
        """Store the last figures and close; a later use opens it again.

        Raises:
            StorageBusyError: A SQLite file stayed in use, and open, for too long.
        """
        self.flusher.close()
        self.jobs.ends.close()
        self.database.close()
        self.jobs.known_queues.forget()


class DatabaseConfig(ChosenDatabase):
    """The chosen database, the setting that chose it, and its stores."""

    def open_storage(
        self, *, clock: Clock | None = None, masking: Masking = KNOWN
    ) -> Storage:
        """Return the stores of the chosen database; see :func:`open_storage`."""
        return open_storage(self.settings, clock=clock, masking=masking)


def open_storage(
    settings: DatabaseSettings,
    *,
    clock: Clock | None = None,
    ids: UlidGenerator | None = None,
    jitter: Callable[[], float] | None = fraction,
    migrate: bool = True,
    in_memory: Callable[[], bool] = lambda: False,
    masking: Masking = KNOWN,
) -> Storage:
    """Return the stores of a database, which opens at the first use.

    Args:
        settings: Where the database is and how to reach it.
        clock: Source of stored instants; the system's by default. PostgreSQL uses the
            server's clock instead.
        ids: Mints job ids.
        jitter: Returns a number in [0, 1) that spreads retries; None spreads nothing.
        migrate: False forbids schema changes; the first use then raises MigrationError
            if the schema is not current.
        in_memory: Called before a SQLite file is opened; True opens a database in
            memory instead.
        masking: Masks secrets in errors, reasons and progress before they are stored,
            by default the keys of ``FORGE_JOBS_REDACT_DEFAULT_KEYS``; a
            :class:`.Redactor` is one.

    Raises:
        ConfigurationError: The database is PostgreSQL but psycopg2 is not installed.
    """
    clock = clock or SystemClock()
    database = _open_database(settings, clock, may_migrate=migrate, in_memory=in_memory)
    ids = ids or UlidGenerator(clock)
    most = settings.max_queues
    return _stores(database, clock, ids, jitter, most=most, masking=masking)


def _stores(
    database: Database,
    clock: Clock,
    ids: UlidGenerator,
    jitter: Callable[[], float] | None,
    *,
    most: int,
    masking: Masking,
) -> Storage:
    recorder = Recorder(clock)
    joined, timed = UnitExecutor(database), UnitExecutor(database, recorder)
    leases, metrics = Leases(joined), MetricStore(database, clock)
    refusals = Refusals(database, recorder, clock)
    uncommitted = Uncommitted(database, recorder, clock)
    queue_of = partial(JobQueue, timed, ids, clock, jitter, recorder)
    jobs = queue_of(uncommitted=uncommitted, most_queues=most, masking=masking)
    # Bulk verbs share one, because together they could starve other writers.
    pace, gentle_pace = Pace(timed, clock), Pace(timed, clock, pauses=GENTLE_PAUSES)
    flusher = Flusher(recorder, metrics, clock, ids.new, uncommitted, refusals=refusals)
    return Storage(
        database=database,
        jobs=jobs,
        job_reader=JobReader(timed),
        activity=JobActivity(timed),
        job_admin=JobAdmin(timed, clock, pace, jobs.follow_ups, masking),
        queues=QueueConfig(joined, pace, most),
        workers=WorkerRegistry(joined),
        audit=AuditLog(joined),
        refusals=refusals,
        follow_ups=jobs.follow_ups,
        cron=CronStorage(joined, ids, recorder, most, masking),
        rate_limits=RateLimits(joined),
        concurrency=ConcurrencyLimits(joined),
        leases=leases,
        retention=Retention(joined, leases, ids, pace, gentle_pace),
        metrics=metrics,
        samples=SampleStore(database, clock),
        recorder=recorder,
        flusher=flusher,
    )


def _open_database(
    settings: DatabaseSettings,
    clock: Clock,
    *,
    may_migrate: bool,
    in_memory: Callable[[], bool],
) -> Database:
    if settings.backend == "sqlite":
        from flask_forge_jobs.storage.sqlite.database import SqliteDatabase

        return SqliteDatabase(
            settings, clock, may_migrate=may_migrate, in_memory=in_memory
        )
    try:
        from flask_forge_jobs.storage.postgres.database import PostgresDatabase
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            settings.source or "backend",
            "PostgreSQL needs psycopg2; install flask-forge-jobs[postgres]",
        ) from error
    return PostgresDatabase(settings, may_migrate=may_migrate)
