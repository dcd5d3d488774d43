"""Retention: deletes finished jobs whose time is up.

Jobs go in batches with a commit between, so writers get through; one sweep at a time in
the whole cluster, held by a lease that every batch renews (D38).
"""

from __future__ import annotations

import logging
from collections import Counter

from flask_forge_jobs.errors import (
    AlreadyRunningError,
    QueueNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from flask_forge_jobs.ids import UlidGenerator
from flask_forge_jobs.model.instants import DAY_US
from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.queues import CleanupReport, QueueSettings
from flask_forge_jobs.storage.database import Database, Parameter
from flask_forge_jobs.storage.leases import Leases
from flask_forge_jobs.storage.pacing import BATCH, Pace

logger = logging.getLogger(__name__)

LEASE = "cleanup"
# Longer than one batch can take with all its retries.
LEASE_S = 120.0
_DEFAULTS = QueueSettings("")

Window = tuple[str, JobStatus, int]


class Retention:
    """Applies the retention windows of the queues.

    Args:
        database: The seam to the database.
        leases: Keeps two sweeps apart.
        ids: Names the sweeps.
        pace: Runs the batches.
    """

    def __init__(
        self, database: Database, leases: Leases, ids: UlidGenerator, pace: Pace
    ) -> None:
        self._database = database
        self._pace = pace
        self._leases = leases
        self._ids = ids

    def sweep(
        self, queue_name: str | None = None, *, most: int | None = None
    ) -> CleanupReport:
        """Delete done and dead jobs that are older than their queue keeps them.

        A queue that fails does not keep the others from being swept.

        Args:
            queue_name: Only of this queue; None means every registered one, and every
                one that has jobs, with the default windows.
            most: Delete about this many at most; None means all.

        Raises:
            QueueNotFoundError: No queue has this name.
            AlreadyRunningError: Another sweep is under way.
            StorageError: A queue could not be swept; the others were.
        """
        windows = self._windows(queue_name)
        holder = self._ids.new()
        if not self._leases.take(LEASE, holder, LEASE_S):
            raise AlreadyRunningError("a cleanup is under way")
        try:
            return self._sweep(windows, holder, most)
        finally:
            self._leases.release(LEASE, holder)

    def expired(self, queue_name: str | None = None) -> CleanupReport:
        """Return what :meth:`sweep` would delete now.

        Raises:
            QueueNotFoundError: No queue has this name.
        """
        found: Counter[JobStatus] = Counter()
        for window in self._windows(queue_name):
            found[window[1]] += self._count(window)
        return _report(found, is_complete=True)

    def _windows(self, queue_name: str | None) -> list[Window]:
        rows = self._database.read(
            lambda tx: tx.all(
                "retention_windows",
                any_queue=queue_name is None,
                queue_name=queue_name,
                done_days=_DEFAULTS.retain_done_for_days,
                dead_days=_DEFAULTS.retain_dead_for_days,
            )
        )
        if queue_name is not None and not rows:
            raise QueueNotFoundError(queue_name)
        return [
            (name, status, days)
            for name, *windows in rows
            for status, days in zip(
                (JobStatus.DONE, JobStatus.DEAD), windows, strict=True
            )
        ]

    def _sweep(
        self, windows: list[Window], holder: str, most: int | None
    ) -> CleanupReport:
        deleted: Counter[JobStatus] = Counter()
        failure: StorageError | None = None
        for window in windows:
            try:
                if not self._sweep_one(window, holder, most, deleted):
                    return _report(deleted, is_complete=False)
            except StorageUnavailableError:
                raise
            except StorageError as error:
                logger.exception("the jobs of queue %r could not be swept", window[0])
                failure = error
        if failure is not None:
            raise failure
        return _report(deleted, is_complete=True)

    def _sweep_one(
        self, window: Window, holder: str, most: int | None, deleted: Counter[JobStatus]
    ) -> bool:
        """Delete what one window lets go; False when the sweep must end before."""
        while True:
            room = BATCH if most is None else min(BATCH, most - deleted.total())
            if room <= 0 or not self._leases.take(LEASE, holder, LEASE_S):
                return False
            count = self._delete(window, room)
            deleted[window[1]] += count
            if not count:
                return True

    def _count(self, window: Window) -> int:
        values = _parameters(window)
        rows = self._database.read(lambda tx: tx.all("count_expired", **values))
        return int(rows[0][0])

    def _delete(self, window: Window, limit: int) -> int:
        values = _parameters(window)
        return len(
            self._pace.write(lambda tx: tx.all("delete_expired", limit=limit, **values))
        )


def _parameters(window: Window) -> dict[str, Parameter]:
    queue_name, status, days = window
    return {"queue_name": queue_name, "status": status.value, "age_us": days * DAY_US}


def _report(counts: Counter[JobStatus], *, is_complete: bool) -> CleanupReport:
    return CleanupReport(
        done_deleted=counts[JobStatus.DONE],
        dead_deleted=counts[JobStatus.DEAD],
        is_complete=is_complete,
    )
