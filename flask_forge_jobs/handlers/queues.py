"""Reads queues, and deletes their expired jobs."""

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
    """Return every registered queue, by name, from one statement.

    The same object is returned until something changes. ``only_live`` leaves out slots
    whose worker has been silent for 60 s.
    """
    within_s = LIVE_WITHIN_S if only_live else None
    return storage.job_reader.snapshot(within_s).overview


def get_queue(storage: Storage, queue_name: str) -> QueueOverview:
    """Return one registered queue, as :func:`overview` does."""
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
    """Delete the finished jobs whose retention is over, of one queue or of all.

    ``dry_run`` only counts them; None as ``limits`` means the default limits.

    Raises:
        AlreadyRunningError: Another cleanup is running.
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
    """Refuse text that cannot be a queue's name as a queue that does not exist."""
    # A NUL is a driver error on one backend and an unknown queue on the other.
    try:
        check_queue_name(queue_name)
    except InvalidInputError as error:
        raise QueueNotFoundError(queue_name) from error
