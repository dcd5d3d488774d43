"""The stores of one database, and how to open them from settings."""

from __future__ import annotations

import atexit
import contextlib
import platform
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config.database import ChosenDatabase, DatabaseSettings
from flask_forge_jobs.errors import ConfigurationError, StorageError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.masking import KNOWN, Masking
from flask_forge_jobs.randomness import fraction
from flask_forge_jobs.storage.batch_checker import BatchChecker
from flask_forge_jobs.storage.batches import BatchStore
from flask_forge_jobs.storage.bulk_runs import BulkRunStore, RunBatches
from flask_forge_jobs.storage.catalogue import load_migrations
from flask_forge_jobs.storage.cron import CronStorage
from flask_forge_jobs.storage.database import Database, Query
from flask_forge_jobs.storage.executor import StoreExecutor
from flask_forge_jobs.storage.flusher import Flusher
from flask_forge_jobs.storage.gauges import GaugeStore
from flask_forge_jobs.storage.jobs.admin import JobAdmin
from flask_forge_jobs.storage.jobs.ends import JobEnds
from flask_forge_jobs.storage.jobs.errors import ErrorStore
from flask_forge_jobs.storage.jobs.failures import Signatures
from flask_forge_jobs.storage.jobs.follow_ups import FollowUpStore
from flask_forge_jobs.storage.jobs.known_queues import KnownQueues
from flask_forge_jobs.storage.jobs.links import LinkStore
from flask_forge_jobs.storage.jobs.logs import LogStore
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.jobs.reader import JobReader, overview_query
from flask_forge_jobs.storage.jobs.steps import StepStore
from flask_forge_jobs.storage.kind_figures import KindFigures
from flask_forge_jobs.storage.limits import ConcurrencyLimits, RateLimits
from flask_forge_jobs.storage.metrics import MetricStore
from flask_forge_jobs.storage.pace import Pace
from flask_forge_jobs.storage.queues import QueueConfig
from flask_forge_jobs.storage.readers import Readers
from flask_forge_jobs.storage.reading import Reading
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.refusals import Refusals
from flask_forge_jobs.storage.request_batches import RequestBatches
from flask_forge_jobs.storage.retention import GENTLE_PAUSES, Retention
from flask_forge_jobs.storage.samples import SampleStore
from flask_forge_jobs.storage.uncommitted import Uncommitted
from flask_forge_jobs.storage.units import Unit
from flask_forge_jobs.storage.workers import Leases, WorkerRegistry


@dataclass(frozen=True, slots=True)
class StorageInfo:
    """Facts about the database, as ordered pairs of text."""

    backend: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class OpenSnapshot:
    """The oldest open transaction of a database, which delays its clean-up.

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


@dataclass
class StoreParts:
    """The parts that all stores of a database share, in a unit or not."""

    database: Database
    clock: Clock
    ids: UlidGenerator
    jitter: Callable[[], float] | None
    max_queues: int
    masking: Masking

    def __post_init__(self) -> None:
        clock, database = self.clock, self.database
        self.executor = executor = StoreExecutor(database)
        self.recorder = recorder = Recorder(clock)
        self.uncommitted = Uncommitted(executor, recorder, clock)
        self.known_queues = KnownQueues(clock, self.max_queues)
        self.ends = JobEnds(database)
        self.signatures = Signatures(executor, self.masking.text)
        # Bulk verbs share one, because together they could starve other writers.
        self.pace = Pace(database.backend, clock)
        self.gentle_pace = Pace(database.backend, clock, pauses=GENTLE_PAUSES)
        self.refusals = Refusals(executor, recorder, clock)
        self.metrics = MetricStore(executor, clock)
        self.kind_figures = KindFigures(executor)
        self.samples = SampleStore(database, clock)
        self.gauges = GaugeStore(executor, clock)
        self.flusher = Flusher(
            recorder, self.metrics, clock, self.ids.new, self.uncommitted,
            refusals=self.refusals,
        )  # fmt: skip


# Reads a file of the distribution each time.
_version = cache(version)
SNAPSHOT_QUERY: Query = ("oldest_snapshot", {})  # of Storage.oldest_snapshot()
OVERVIEW_QUERY = overview_query()  # of JobReader.snapshot()


class Storage(Readers):
    """The stores of one database.

    The database opens at the first use. Each process opens its own connections, so a
    Storage may be made before a fork and used after it.
    """

    def __init__(
        self, parts: StoreParts, executor: StoreExecutor, timed: StoreExecutor
    ) -> None:
        super().__init__(parts.database, executor, timed)
        self._parts = parts
        self.recorder = parts.recorder
        self.flusher = parts.flusher
        self.refusals = parts.refusals
        self.metrics = parts.metrics
        self.kind_figures = parts.kind_figures
        self.samples = parts.samples
        self.gauges = parts.gauges

    def within(self, unit: Unit | RequestBatches | RunBatches | Reading) -> Storage:
        """Return the same stores, whose calls belong to a unit, or to batches."""
        stores = Storage(self._parts, unit.executor(), unit.executor(self.recorder))
        if isinstance(unit, Reading):
            stores.metrics = MetricStore(unit.executor(), self._parts.clock)
        return stores

    def outside(self) -> Storage:
        """Return the same stores, whose changes belong to no unit."""
        timed = StoreExecutor(self.database, self.recorder)
        return Storage(self._parts, self._parts.executor, timed)

    def when_stored(self, call: Callable[..., object], *args: object) -> None:
        """Call something after the commit of the unit; outside a unit at once."""
        self._executor.when_stored(call, *args)

    def expect(self, query: Query) -> None:
        """Announce what a store reads behind the next change, for one message of both.

        Outside a unit it does nothing.
        """
        self._executor.expect(query)

    @cached_property
    def jobs(self) -> JobQueue:
        """The hot path: enqueue, claim, finish."""
        parts = self._parts
        return JobQueue(
            self._timed,
            parts.ids,
            parts.clock,
            parts.jitter,
            parts.recorder,
            uncommitted=parts.uncommitted,
            known_queues=parts.known_queues,
            ends=parts.ends,
            max_queues=parts.max_queues,
            masking=parts.masking,
            signatures=parts.signatures,
        )

    # A request needs two or three of these, so each is made at its first use.
    follow_ups = cached_property[FollowUpStore](lambda self: self.jobs.follow_ups)
    job_reader = cached_property[JobReader](lambda self: JobReader(self._timed))
    errors = cached_property[ErrorStore](lambda self: ErrorStore(self._executor))
    steps = cached_property[StepStore](lambda self: StepStore(self._executor))
    logs = cached_property[LogStore](lambda self: LogStore(self._executor))
    workers = cached_property[WorkerRegistry](
        lambda self: WorkerRegistry(self._executor)
    )
    bulk_runs = cached_property[BulkRunStore](
        lambda self: BulkRunStore(self._executor, self._parts.ids)
    )
    rate_limits = cached_property[RateLimits](lambda self: RateLimits(self._executor))
    concurrency = cached_property[ConcurrencyLimits](
        lambda self: ConcurrencyLimits(self._executor)
    )
    links = cached_property[LinkStore](lambda self: LinkStore(self._timed))
    batches = cached_property[BatchStore](
        lambda self: BatchStore(
            self._timed, self.jobs, self.job_admin, self._parts.ids.new_many
        )
    )
    batch_checker = cached_property[BatchChecker](
        lambda self: BatchChecker(self._timed, self.batches, self.jobs.settlement)
    )
    leases = cached_property[Leases](lambda self: Leases(self._executor))

    @cached_property
    def job_admin(self) -> JobAdmin:
        """Changes of jobs by an operator."""
        parts, jobs = self._parts, self.jobs
        return JobAdmin(
            self._timed,
            parts.clock,
            parts.pace,
            jobs.follow_ups,
            settlement=jobs.settlement,
            masking=parts.masking,
        )

    @cached_property
    def queues(self) -> QueueConfig:
        """The settings of queues."""
        parts = self._parts
        return QueueConfig(
            self._executor,
            parts.pace,
            self.jobs.settlement,
            parts.max_queues,
            parts.masking,
        )

    @cached_property
    def cron(self) -> CronStorage:
        """The schedules."""
        parts = self._parts
        return CronStorage(
            self._executor, parts.ids, parts.recorder, parts.max_queues, parts.masking
        )

    @cached_property
    def retention(self) -> Retention:
        """Deletes jobs whose time is over."""
        parts = self._parts
        return Retention(
            self._executor,
            self.leases,
            parts.ids,
            parts.pace,
            parts.gentle_pace,
            settlement=self.jobs.settlement,
        )

    def mint(self, count: int) -> list[str]:
        """Return new ids for jobs or batches, in order."""
        return self._parts.ids.new_many(count)

    @property
    def backend(self) -> str:
        """``sqlite`` or ``postgres``."""
        return self.database.backend

    @property
    def masking(self) -> Masking:
        """Masks every error, reason and report of progress before it is stored."""
        return self._parts.masking

    def open(self) -> None:
        """Connect and migrate now; see :meth:`Database.open`."""
        self.database.open()

    def takes_writes(self) -> bool:
        """Return the result of :meth:`Database.takes_writes`."""
        return self.database.takes_writes()

    def oldest_snapshot(self) -> OpenSnapshot | None:
        """Return the oldest transaction that keeps PostgreSQL from cleaning up.

        None if our role sees none; always None on SQLite.

        Raises:
            StorageError: The database does not answer.
        """
        rows = self._executor.read_one(SNAPSHOT_QUERY[0])
        return OpenSnapshot(*rows[0]) if rows else None

    def describe(self) -> StorageInfo:
        """Return facts about the live connection."""
        *facts, driver = self.database.describe()
        ours = (
            ("package_version", _version("flask-forge-jobs")),
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
        self._parts.ends.close()
        self.database.close()
        self._parts.known_queues.forget()


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
    parts = StoreParts(database, clock, ids, jitter, settings.max_queues, masking)
    storage = Storage(parts, parts.executor, StoreExecutor(database, parts.recorder))
    _opened.add(storage)
    return storage


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
