"""Recent activity: events, and totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.handlers.attention.report import counts_of
from flask_forge_jobs.handlers.filters import IN_QUERY, checked_filter
from flask_forge_jobs.model.activity import EventType
from flask_forge_jobs.model.bounds import check_integer
from flask_forge_jobs.model.jobs import JobFilter, JobStatus
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.jobs.activity import EventsPage, ended_query
from flask_forge_jobs.storage.reading import Reading
from flask_forge_jobs.storage.workers import overview_queries

MAX_EVENTS = 500
# Larger than any id up to the year 9999.
MAX_EVENT_ID = 2**63 - 1
_DAY_S = 86_400.0


def list_events(
    storage: Storage,
    job_filter: JobFilter,
    *,
    after: int | None,
    types: Sequence[str],
    limit: int,
) -> EventsPage:
    """Return events that are at least one second old.

    ``after`` is ``next`` of the previous page; None returns the latest events.
    ``types`` are ``enqueued``, ``started``, ``completed``, ``dead`` and ``cancelled``;
    none means all. ``limit`` is 1 to 500.
    """
    check_integer("limit", limit, 1, MAX_EVENTS)
    job_filter = checked_filter(job_filter, IN_QUERY)
    chosen = [EventType.parse(word, "type") for word in types] or list(EventType)
    if after is None:
        return storage.activity.latest_events(limit, chosen, job_filter)
    check_integer("after", after, 0, MAX_EVENT_ID)
    return storage.activity.events_after(after, limit, chosen, job_filter)


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

    ``queue_names`` limits the queues and workers; None means all. ``now`` is shown as
    the time of the answer.
    """

    def is_visible(name: str) -> bool:
        return queue_names is None or name in queue_names

    snapshot = storage.job_reader.snapshot()
    settings = [queue.settings for queue in snapshot.overview]
    queues = {queue.name: queue for queue in settings if is_visible(queue.name)}
    statistics = {
        name: each for name, each in snapshot.statistics.items() if is_visible(name)
    }
    lately = ended_query(JobStatus.DEAD, _DAY_S, statistics)
    together = storage.within(Reading(storage.database, [*overview_queries(), lately]))
    overview = together.workers.overview()
    ended = together.activity.ended_within(JobStatus.DEAD, _DAY_S, statistics)
    return Stats(
        counts=counts_of(statistics.values()),
        queues=len(queues),
        paused_queues=[name for name, queue in queues.items() if queue.paused],
        throttled_queues=[name for name in queues if name in snapshot.cooling],
        unassigned_queues=list(filter(is_visible, overview.unassigned_queues)),
        orphan_queues=sorted(statistics.keys() - queues.keys()),
        workers_live=sum(
            queue_names is None
            or any(is_visible(slot.queue_name) for slot in worker.slots)
            for worker in overview.workers
        ),
        max_lag_seconds=max(
            (each.oldest_due_age_s for each in statistics.values()), default=0
        ),
        dead_last_24h=sum(ended.values()),
        at=now,
    )
