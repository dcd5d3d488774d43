"""The totals that stand above everything else."""

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
    """Totals over all queues.

    Args:
        counts: How many jobs are in each state, those of orphan queues too.
        queues: How many queues are registered.
        paused_queues: Names of the paused ones.
        throttled_queues: Names of those that cool down.
        unassigned_queues: Names of those that no live worker has a slot for.
        orphan_queues: Queues that jobs are in and that nobody registered.
        workers_live: Worker processes with a recent heartbeat.
        max_lag_seconds: How long the oldest job that may run has waited.
        dead_last_24h: Jobs that ended without success within a day.
        at: When this was true.
    """

    counts: QueueCounts
    queues: int
    paused_queues: Sequence[str]
    throttled_queues: Sequence[str]
    unassigned_queues: Sequence[str]
    orphan_queues: Sequence[str]
    workers_live: int
    max_lag_seconds: int
    dead_last_24h: int
    at: datetime


def stats(
    storage: Storage, now: datetime, queue_names: Sequence[str] | None = None
) -> Stats:
    """Return the totals; the cost does not depend on how many jobs there are.

    Args:
        storage: Where everything is.
        now: Decides whether a cool-down still holds.
        queue_names: Only of these queues, and of the workers that have a slot for
            one; None means all.

    Raises:
        StorageUnavailableError: The database could not be reached.
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
