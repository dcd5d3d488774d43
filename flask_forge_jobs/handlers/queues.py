"""Queues: what each one holds, and the settings an operator may change."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.errors import InvalidInputError, QueueNotFoundError
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.overview import QueueOverview
from flask_forge_jobs.model.processes import LIVE_WITHIN_S
from flask_forge_jobs.model.queues import (
    CleanupReport,
    QueueCounts,
    check_backoff,
    check_max_workers,
    check_retention_days,
)
from flask_forge_jobs.storage.base import Storage


def overview(storage: Storage, *, only_live: bool = False) -> Sequence[QueueOverview]:
    """Return every registered queue, by name.

    All of it comes from one statement, so it agrees with itself. It is the very same
    object as the one before for as long as nothing has changed.

    Args:
        storage: Where the queues are.
        only_live: Leave out slots whose worker has been silent for 60 s.

    Raises:
        StorageUnavailableError: The database could not be reached.
    """
    within_s = LIVE_WITHIN_S if only_live else None
    return storage.job_reader.snapshot(within_s).overview


def get_queue(storage: Storage, queue_name: str) -> QueueOverview:
    """Return one registered queue, as :func:`overview` does.

    Raises:
        QueueNotFoundError: No such queue.
        StorageUnavailableError: The database could not be reached.
    """
    require_possible_name(queue_name)
    settings = storage.queues.get(queue_name)
    found = storage.job_reader.statistics().get(queue_name)
    return QueueOverview(
        settings=settings,
        counts=found.counts if found else QueueCounts(),
        processes=storage.processes.all(queue_name),
        oldest_due_age_s=found.oldest_due_age_s if found else 0,
    )


def set_max_workers(storage: Storage, queue_name: str, n: int) -> None:
    """Set how many jobs of a queue run at once in the whole cluster.

    Args:
        storage: Where the queue is.
        queue_name: A registered queue.
        n: 0 to 1024; 0 stops the queue.

    Raises:
        InvalidInputError: ``n`` is out of bounds.
        QueueNotFoundError: No such queue.
    """
    check_max_workers(n)
    require_possible_name(queue_name)
    storage.queues.set_max_workers(queue_name, n)


def set_paused(storage: Storage, queue_name: str, paused: bool) -> None:  # noqa: FBT001  # it is the value
    """Stop or resume handing out jobs of a queue; running ones finish.

    Raises:
        QueueNotFoundError: No such queue.
    """
    require_possible_name(queue_name)
    storage.queues.set_paused(queue_name, paused)


def set_retention(
    storage: Storage, queue_name: str, *, done_days: int, dead_days: int
) -> None:
    """Set for how many days a queue keeps its finished jobs.

    Args:
        storage: Where the queue is.
        queue_name: A registered queue.
        done_days: 0 to 36500; 0 means until the next sweep.
        dead_days: Likewise for dead jobs.

    Raises:
        InvalidInputError: A number is out of bounds.
        QueueNotFoundError: No such queue.
    """
    check_retention_days("done_days", done_days)
    check_retention_days("dead_days", dead_days)
    require_possible_name(queue_name)
    storage.queues.set_retention(queue_name, done_days, dead_days)


def set_backoff(
    storage: Storage,
    queue_name: str,
    *,
    enabled: bool,
    base_seconds: int,
    max_seconds: int,
) -> None:
    """Set the curve by which failed and throttled work of a queue waits.

    Args:
        storage: Where the queue is.
        queue_name: A registered queue.
        enabled: False means flat delays.
        base_seconds: First delay, 1 to 86400; doubles with each event in a row.
        max_seconds: Longest delay, ``base_seconds`` to 86400.

    Raises:
        InvalidInputError: A value is out of bounds.
        QueueNotFoundError: No such queue.
    """
    check_backoff(base_seconds, max_seconds)
    require_possible_name(queue_name)
    storage.queues.set_backoff(
        queue_name,
        enabled=enabled,
        base_seconds=base_seconds,
        max_seconds=max_seconds,
    )


def cleanup(
    storage: Storage,
    *,
    queue_name: str | None = None,
    dry_run: bool | None = None,
    limits: BulkLimits | None = None,
) -> CleanupReport:
    """Delete the finished jobs whose retention is over, now.

    Args:
        storage: Where the jobs are.
        queue_name: Only of this queue; None means every one.
        dry_run: Only count what would be deleted.
        limits: How much to do; None means the defaults.

    Raises:
        QueueNotFoundError: No such queue.
        AlreadyRunningError: Another cleanup is under way.
    """
    if queue_name is not None:
        require_possible_name(queue_name)
    if dry_run:
        return storage.retention.expired(queue_name)
    limits = limits or BulkLimits()
    return storage.retention.sweep(
        queue_name, most=limits.max_rows, is_over=limits.deadline()
    )


def require_possible_name(queue_name: str) -> None:
    """Refuse a name that no queue can have.

    Raises:
        QueueNotFoundError: It is such a name.
    """
    # Text that cannot name a queue would be an error of the driver on one backend (a
    # NUL character) and a queue that is not there on the other.
    try:
        check_queue_name(queue_name)
    except InvalidInputError as error:
        raise QueueNotFoundError(queue_name) from error
