"""The figures behind the Prometheus gauges."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.storage.base import Storage


@dataclass(frozen=True, slots=True)
class QueueGauges:
    """What one registered queue shows to Prometheus."""

    queue_name: str
    counts: QueueCounts
    oldest_due_age_s: int
    max_workers: int
    is_paused: bool
    is_throttled: bool


def queue_gauges(storage: Storage, now: datetime) -> list[QueueGauges]:
    """Return the gauges of every registered queue, by name, from two reads.

    Args:
        storage: Where the queues are.
        now: Decides whether a cool-down still holds.

    Raises:
        StorageUnavailableError: The database could not be reached.
    """
    queues = storage.queues.all()
    statistics = storage.job_reader.statistics()
    gauges = []
    for queue in queues:
        found = statistics.get(queue.name)
        until = queue.throttled_until
        gauges.append(
            QueueGauges(
                queue_name=queue.name,
                counts=found.counts if found else QueueCounts(),
                oldest_due_age_s=found.oldest_due_age_s if found else 0,
                max_workers=max(queue.max_workers, 0),
                is_paused=queue.paused,
                is_throttled=until is not None and until > now,
            )
        )
    return gauges
