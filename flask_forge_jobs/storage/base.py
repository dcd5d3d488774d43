"""Storage: the record that carries the stores, one attribute each."""

from __future__ import annotations

import atexit
import contextlib
import platform
import weakref
from dataclasses import dataclass
from importlib.metadata import version

from flask_forge_jobs.errors import StorageError
from flask_forge_jobs.storage.audit import AuditLog
from flask_forge_jobs.storage.catalogue import load_migrations
from flask_forge_jobs.storage.cron import CronStorage
from flask_forge_jobs.storage.database import Database
from flask_forge_jobs.storage.flusher import Flusher
from flask_forge_jobs.storage.jobs.activity import JobActivity
from flask_forge_jobs.storage.jobs.admin import JobAdmin
from flask_forge_jobs.storage.jobs.queue import JobQueue
from flask_forge_jobs.storage.jobs.reader import JobReader
from flask_forge_jobs.storage.leases import Leases
from flask_forge_jobs.storage.limits import RateLimits
from flask_forge_jobs.storage.metrics import MetricStore
from flask_forge_jobs.storage.processes import ProcessRegistry
from flask_forge_jobs.storage.queues import QueueConfig
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.refusals import Refusals
from flask_forge_jobs.storage.retention import Retention
from flask_forge_jobs.storage.samples import SampleStore
from flask_forge_jobs.storage.seats import Seats


@dataclass(frozen=True, slots=True)
class StorageInfo:
    """What the database says of itself, as ordered pairs of text."""

    backend: str
    fields: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class OpenSnapshot:
    """The oldest transaction of a database that others have to be kept visible for.

    Args:
        age_s: Seconds since it began.
        holder: Who has it open: a session by its process at the server, or a prepared
            transaction by its name.
    """

    age_s: float
    holder: str


_opened: weakref.WeakSet[Storage] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """At the end of the process, store the last figures and close what is open."""
    for storage in list(_opened):
        with contextlib.suppress(StorageError):
            storage.close()


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Storage:
    """Everything that is stored, by who needs it.

    Nothing is opened before the first use, and each process opens its own: a Storage
    may be made before a fork and used after it.
    """

    database: Database
    jobs: JobQueue
    job_reader: JobReader
    activity: JobActivity
    job_admin: JobAdmin
    queues: QueueConfig
    processes: ProcessRegistry
    audit: AuditLog
    refusals: Refusals
    cron: CronStorage
    rate_limits: RateLimits
    seats: Seats
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

    def open(self) -> None:
        """Connect now, check and migrate; see :meth:`Database.open`."""
        self.database.open()

    def takes_writes(self) -> bool:
        """Return whether the database takes writes; a standby only answers reads.

        Raises:
            StorageError: It does not answer.
        """
        return bool(self.database.look("takes_writes")[0][0])

    def oldest_snapshot(self) -> OpenSnapshot | None:
        """Return the oldest transaction that keeps PostgreSQL from cleaning up.

        None when there is none, or none that our role may see; always on SQLite.

        Raises:
            StorageError: The database does not answer.
        """
        rows = self.database.look("oldest_snapshot")
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
        """Store the last figures and close; a later use opens anew.

        Raises:
            StorageBusyError: Somebody uses a SQLite file for too long; it stays open.
        """
        self.flusher.close()
        self.jobs.ends.close()
        self.database.close()
        self.jobs.known_queues.forget()
