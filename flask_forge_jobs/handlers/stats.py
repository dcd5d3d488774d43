"""The totals over all queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from flask_forge_jobs.model.jobs import JobStatus
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.storage.base import Storage

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Stats:
    """Totals over all queues."""

    # Jobs of orphan queues included.
    counts: QueueCounts
    queues: int
    paused_queues: Sequence[str]
    # Queues in a cool-down.
    throttled_queues: Sequence[str]
    # Queues without a slot on a live worker.
    unassigned_queues: Sequence[str]
    # Queues with jobs that are not registered.
    orphan_queues: Sequence[str]
    workers_live: int
    # How long the oldest due job has waited.
    max_lag_seconds: int
    dead_last_24h: int
    at: datetime


def stats(
    storage: Storage, now: datetime, queue_names: Sequence[str] | None = None
) -> Stats:
    """Return the totals; the cost does not depend on the number of jobs.

    ``queue_names`` limits the queues and workers; None means all. ``now`` decides
    whether a cool-down still holds.
    """

    def is_wanted(name: str) -> bool:
        return queue_names is None or name in queue_names

    snapshot = storage.job_reader.snapshot()
    settings = [queue.settings for queue in snapshot.overview]
    queues = {queue.name: queue for queue in settings if is_wanted(queue.name)}
    statistics = {
        name: each for name, each in snapshot.statistics.items() if is_wanted(name)
    }
    overview = storage.workers.overview()
    ended = storage.activity.ended_within(JobStatus.DEAD, _DAY_S, statistics)
    return Stats(
        counts=_sum([each.counts for each in statistics.values()]),
        queues=len(queues),
        paused_queues=[name for name, queue in queues.items() if queue.paused],
        throttled_queues=[
            name
            for name, queue in queues.items()
            if queue.throttled_until is not None and queue.throttled_until > now
        ],
        unassigned_queues=list(filter(is_wanted, overview.unassigned_queues)),
        orphan_queues=sorted(statistics.keys() - queues.keys()),
        workers_live=sum(
            queue_names is None
            or any(is_wanted(slot.queue_name) for slot in worker.slots)
            for worker in overview.workers
        ),
        max_lag_seconds=max(
            (each.oldest_due_age_s for each in statistics.values()), default=0
        ),
        dead_last_24h=sum(ended.values()),
        at=now,
    )


def _sum(counts: Sequence[QueueCounts]) -> QueueCounts:
    names = [each.name for each in fields(QueueCounts)]
    return QueueCounts(
        **{name: sum(getattr(each, name) for each in counts) for name in names}
    )
