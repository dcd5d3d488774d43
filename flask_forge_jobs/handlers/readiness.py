"""Readiness: the database, its schema, the workers."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from time import perf_counter

from flask_forge_jobs.errors import MigrationError, SchemaTooNewError, StorageError
from flask_forge_jobs.model.log_lines import LogThrottle, one_line
from flask_forge_jobs.model.workers import LIVE_WITHIN_S, ServiceAge, unserved_queues
from flask_forge_jobs.storage.base import SNAPSHOT_QUERY, OpenSnapshot, Storage
from flask_forge_jobs.storage.database import Query, SchemaVersions
from flask_forge_jobs.storage.deadlines import within
from flask_forge_jobs.storage.migrate import look_at_schema
from flask_forge_jobs.storage.queues import ALL_QUERY
from flask_forge_jobs.storage.reading import Reading
from flask_forge_jobs.storage.workers import SERVICES_QUERY, live_query

logger = logging.getLogger(__name__)
_LOG_THROTTLE = LogThrottle()  # load balancers ask every few seconds
# Transactions that are open for longer slow claims down.
OLD_SNAPSHOT_S = 60.0
MAX_SHOWN = 10
# For all reads together, once a commit has come back.
READ_LIMIT_S = 2.0
SCHEMA_QUERY: Query = ("newest_version", {})
_AFTER_SCHEMA = ("workers", "services", "snapshots", "queues")


class ReadyStatus(StrEnum):
    """How ready the service is; without workers it is only degraded."""

    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class ReadinessCheck:
    """The result of one check."""

    name: str
    ok: bool
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """The results of all checks."""

    # storage, schema, workers, services, snapshots, queues; the last two never fail.
    checks: Sequence[ReadinessCheck]
    # Each service of the live workers, by name, with its oldest tick.
    services: Sequence[ServiceAge] = ()
    # How long one read took, and how many workers are live; 0 if it failed.
    answer_s: float = 0.0
    workers: int = 0
    # Registered queues; those that run jobs once a worker serves them, and the names of
    # those that none serves.
    registered: int = 0
    queues: int = 0
    unserved: Sequence[str] = ()

    @property
    def status(self) -> ReadyStatus:
        """The worst result; missing workers or late services only degrade."""
        failed = {check.name for check in self.checks if not check.ok}
        if failed - {"workers", "services"}:
            return ReadyStatus.UNAVAILABLE
        return ReadyStatus.DEGRADED if failed else ReadyStatus.OK


def readiness(
    storage: Storage,
    queue_names: Collection[str] | None = None,
    *,
    limit_s: float | None = None,
) -> Readiness:
    """Return whether the database takes writes, its schema fits, and workers are live.

    Takes a second more than ``limit_s`` at most; None means 2. A newer schema is fine
    unless it excludes this code.
    Nothing is raised: a fault is a failed check. Details name no address and quote no
    driver, and only queues in ``queue_names``; None means all.
    """
    try:
        with within(READ_LIMIT_S if limit_s is None else limit_s):
            takes_writes = storage.takes_writes()
            reading = Reading(storage.database, _queries())
            together = storage.within(reading)
            began = perf_counter()
            versions = _versions(storage, reading)
            answer_s = perf_counter() - began
            workers = together.workers.live(LIVE_WITHIN_S)
            known = together.queues.all()
            services = together.workers.services()
            snapshot = together.oldest_snapshot()
    except StorageError as error:
        return _unavailable(error)
    own = [each for each in known if queue_names is None or each.name in queue_names]
    queues = [each.name for each in own if each.is_open]
    unserved = unserved_queues(queues, workers)
    return Readiness(
        (
            _check_writes(takes_writes=takes_writes),
            _check_schema(versions),
            ReadinessCheck("workers", bool(workers), f"{len(workers)} live"),
            _check_services(services),
            ReadinessCheck("snapshots", True, _snapshot_detail(snapshot)),
            ReadinessCheck("queues", True, _unserved_in_words(unserved)),
        ),
        services,
        answer_s,
        len(workers),
        len(own),
        len(queues),
        unserved,
    )


def _queries() -> list[Query]:
    return [
        SCHEMA_QUERY, live_query(LIVE_WITHIN_S), ALL_QUERY, SERVICES_QUERY,
        SNAPSHOT_QUERY,
    ]  # fmt: skip


def _versions(storage: Storage, reading: Reading) -> SchemaVersions:
    try:
        newest = reading.of(SCHEMA_QUERY)
    except StorageError:
        # Of a newer schema only the versions may be readable.
        look_at_schema(storage.database).require_readable()
        raise
    versions = SchemaVersions.of(newest, storage.database.known_version)
    versions.require_readable()
    return versions


def _unavailable(error: StorageError) -> Readiness:
    kind = type(error).__name__
    if _LOG_THROTTLE.is_time_for(kind):
        logger.warning("not ready: %s%s", error, _LOG_THROTTLE.more(kind))
    is_schema = isinstance(error, MigrationError)
    return Readiness(
        (
            ReadinessCheck(
                "storage", is_schema, None if is_schema else "does not answer"
            ),
            ReadinessCheck("schema", False, _schema_fault(error)),
            *(ReadinessCheck(name, False, "unknown") for name in _AFTER_SCHEMA),
        )
    )


def _unserved_in_words(unserved: Sequence[str]) -> str | None:
    if not unserved:
        return None
    shown = one_line(", ".join(unserved[:MAX_SHOWN]))
    more = len(unserved) - MAX_SHOWN
    return f"no worker serves {shown}" + (f" and {more} more" if more > 0 else "")


def _schema_fault(error: StorageError) -> str:
    if isinstance(error, SchemaTooNewError):
        return (
            f"version {error.version} needs code that knows {error.oldest_reader}, "
            f"this one knows {error.known}"
        )
    return "does not fit" if isinstance(error, MigrationError) else "unknown"


def _check_writes(*, takes_writes: bool) -> ReadinessCheck:
    detail = None if takes_writes else "takes no writes"
    return ReadinessCheck("storage", takes_writes, detail)


def _check_schema(versions: SchemaVersions) -> ReadinessCheck:
    detail = f"version {versions.stored}, this code knows {versions.known}"
    return ReadinessCheck("schema", versions.stored >= versions.known, detail)


def _check_services(services: Sequence[ServiceAge]) -> ReadinessCheck:
    late = [
        f"{each.name} for {each.whole_age_s} s" for each in services if each.is_late
    ]
    detail = f"no tick of {', '.join(late)}" if late else None
    return ReadinessCheck("services", not late, detail)


def _snapshot_detail(snapshot: OpenSnapshot | None) -> str | None:
    if snapshot is None or snapshot.age_s < OLD_SNAPSHOT_S:
        return None
    return (
        f"{snapshot.holder} has had a transaction open for {int(snapshot.age_s)} s; "
        "it slows claims down until it ends"
    )
