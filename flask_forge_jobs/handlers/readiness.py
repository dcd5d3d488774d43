"""Whether the service can do its work: the database, its schema, the workers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from flask_forge_jobs.errors import MigrationError, StorageError
from flask_forge_jobs.model.processes import LIVE_WITHIN_S, ServiceAge
from flask_forge_jobs.storage.base import Storage

logger = logging.getLogger(__name__)


class ReadyStatus(StrEnum):
    """How ready the service is; without workers it is only degraded."""

    OK = "ok"
    DEGRADED = "degraded"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was looked at.

    Args:
        checks: ``storage``, ``schema``, ``workers`` and ``services``, in this order.
        services: Each service of the live worker processes, by name; of several
            processes the one whose last tick is the oldest.
    """

    checks: Sequence[Check]
    services: Sequence[ServiceAge] = ()

    @property
    def status(self) -> ReadyStatus:
        """The worst of the checks; workers may be missing or sick for a while."""
        failed = {check.name for check in self.checks if not check.ok}
        if failed - {"workers", "services"}:
            return ReadyStatus.UNAVAILABLE
        return ReadyStatus.DEGRADED if failed else ReadyStatus.OK


def readiness(storage: Storage) -> Readiness:
    """Return whether the database answers, is up to date, and has live workers.

    Nothing is raised: what fails is a check that is not ok. Details name no address
    and quote no driver.
    """
    try:
        workers = len(storage.processes.live_pods(LIVE_WITHIN_S))
        services = storage.processes.services()
        versions = storage.database.schema_versions()
    except StorageError as error:
        logger.warning("not ready: %s", error)
        is_schema = isinstance(error, MigrationError)
        return Readiness(
            (
                Check("storage", is_schema, None if is_schema else "does not answer"),
                Check("schema", False, "does not fit" if is_schema else "unknown"),
                Check("workers", False, "unknown"),
                Check("services", False, "unknown"),
            )
        )
    # A database in memory has just been made by this very code.
    stored, newest = versions or (0, 0)
    return Readiness(
        (
            Check("storage", True),
            Check("schema", stored >= newest, f"version {stored}, {newest} is needed"),
            Check("workers", workers > 0, f"{workers} live"),
            _check_services(services),
        ),
        services,
    )


def _check_services(services: Sequence[ServiceAge]) -> Check:
    late = [
        f"{each.name} for {each.whole_age_s} s" for each in services if each.is_late
    ]
    detail = f"no tick of {', '.join(late)}" if late else None
    return Check("services", not late, detail)
