"""From settings to a Storage; imports a driver only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from flask_forge_jobs.clock import Clock, SystemClock
from flask_forge_jobs.config import database as config
from flask_forge_jobs.config.database import DatabaseSettings
from flask_forge_jobs.errors import ConfigurationError
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.randomness import fraction
from flask_forge_jobs.storage.audit import AuditLog
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.cron import CronStorage
from flask_forge_jobs.storage.cron_firing import Firing
from flask_forge_jobs.storage.database import Database
from flask_forge_jobs.storage.flusher import Flusher
from flask_forge_jobs.storage.jobs.activity import JobActivity
from flask_forge_jobs.storage.jobs.admin import JobAdmin
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.jobs.reader import JobReader
from flask_forge_jobs.storage.jobs.uncommitted import Uncommitted
from flask_forge_jobs.storage.leases import Leases
from flask_forge_jobs.storage.limits import RateLimits
from flask_forge_jobs.storage.metrics import MetricStore
from flask_forge_jobs.storage.pace import Pace
from flask_forge_jobs.storage.processes import ProcessRegistry
from flask_forge_jobs.storage.queues import QueueConfig
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.refusals import Refusals
from flask_forge_jobs.storage.retention import GENTLE_PAUSES, Retention
from flask_forge_jobs.storage.samples import SampleStore
from flask_forge_jobs.storage.seats import Seats
from flask_forge_jobs.storage.unit_database import UnitDatabase


class DatabaseConfig(config.DatabaseConfig):
    """The database that was chosen, what chose it, and the way to its stores."""

    def open_storage(self, *, clock: Clock | None = None) -> Storage:
        """Return the stores of the chosen database; see :func:`open_storage`."""
        return open_storage(self.settings, clock=clock)


def open_storage(
    settings: DatabaseSettings,
    *,
    clock: Clock | None = None,
    ids: UlidGenerator | None = None,
    jitter: Callable[[], float] | None = fraction,
    migrate: bool = True,
    in_memory: Callable[[], bool] = lambda: False,
) -> Storage:
    """Return the stores of a database; it is opened at the first use.

    Args:
        settings: Where the database is and how to talk to it.
        clock: Source of stored instants; the system's by default. PostgreSQL uses the
            server's clock instead.
        ids: Mints job ids.
        jitter: Returns a number in [0, 1) that spreads retries; None spreads nothing.
        migrate: False forbids schema changes; a schema that is not current is then an
            error at the first use.
        in_memory: Asked when a SQLite file is about to be opened; True leaves it alone
            and takes a database in memory from then on.

    Raises:
        ConfigurationError: PostgreSQL is asked for and psycopg2 is not installed.
    """
    clock = clock or SystemClock()
    database = _open_database(settings, clock, may_migrate=migrate, in_memory=in_memory)
    ids = ids or UlidGenerator(clock)
    joined = UnitDatabase(database)
    leases = Leases(joined)
    most_queues = settings.max_queues
    metrics = MetricStore(database, clock)
    recorder = Recorder(clock)
    refusals = Refusals(database, recorder, clock)
    timed = UnitDatabase(database, recorder)
    uncommitted = Uncommitted(database, recorder, clock)
    # One for all bulk verbs, which would crowd out others together as well.
    pace = Pace(timed, clock)
    return Storage(
        database=database,
        jobs=JobQueue(
            timed,
            ids,
            clock,
            jitter,
            recorder,
            uncommitted=uncommitted,
            most_queues=most_queues,
        ),
        job_reader=JobReader(timed),
        activity=JobActivity(timed),
        job_admin=JobAdmin(timed, clock, pace),
        queues=QueueConfig(joined, pace, most_queues),
        processes=ProcessRegistry(joined),
        audit=AuditLog(joined),
        refusals=refusals,
        cron=CronStorage(joined, Firing(joined, ids, recorder, most_queues)),
        rate_limits=RateLimits(joined),
        seats=Seats(joined),
        leases=leases,
        retention=Retention(
            joined, leases, ids, pace, Pace(timed, clock, pauses=GENTLE_PAUSES)
        ),
        metrics=metrics,
        samples=SampleStore(database, clock),
        recorder=recorder,
        flusher=Flusher(
            recorder, metrics, clock, ids.new, uncommitted, refusals=refusals
        ),
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
