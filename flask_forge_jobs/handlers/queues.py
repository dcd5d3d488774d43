"""Queues: what each one holds, and the sweep of what it need not keep."""

from __future__ import annotations

from collections.abc import Sequence

from flask_forge_jobs.errors import InvalidInputError, QueueNotFoundError
from flask_forge_jobs.handlers.bulk import BulkLimits
from flask_forge_jobs.model.bounds import check_queue_name
from flask_forge_jobs.model.overview import QueueOverview
from flask_forge_jobs.model.queues import CleanupReport, QueueCounts
from flask_forge_jobs.model.workers import LIVE_WITHIN_S
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
        slots=storage.workers.slots(queue_name),
        oldest_due_age_s=found.oldest_due_age_s if found else 0,
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
