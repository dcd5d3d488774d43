"""The values of the Prometheus metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flask_forge_jobs.model.metrics import Tally
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.storage.base import SNAPSHOT_QUERY, Storage
from flask_forge_jobs.storage.batch_reader import OVERVIEW_QUERY
from flask_forge_jobs.storage.metrics import COUNTER_QUERIES, QueueTimes
from flask_forge_jobs.storage.reading import Reading
from flask_forge_jobs.storage.workers import SERVICES_QUERY

# The label that all names after the first 200 share.
OTHER = "_other"


@dataclass(frozen=True, slots=True)
class QueueGauges:
    """The gauges of one registered queue."""

    queue_name: str
    counts: QueueCounts
    oldest_due_age_s: int
    max_workers: int
    is_paused: bool
    is_throttled: bool


@dataclass(frozen=True, slots=True)
class JobCounters:
    """All counters by (queue, kind) and by queue, each with at most 200 labels."""

    jobs: Mapping[tuple[str, str], Tally]
    times: Mapping[str, QueueTimes]


def read_ahead(storage: Storage) -> Storage:
    """Return stores that read all but the queues of a scrape in one round trip."""
    queries = [
        *COUNTER_QUERIES, SERVICES_QUERY, OVERVIEW_QUERY,
        *((SNAPSHOT_QUERY,) if storage.backend == "postgres" else ()),
    ]  # fmt: skip
    return storage.within(Reading(storage.database, queries))


def queue_gauges(storage: Storage) -> list[QueueGauges]:
    """Return the gauges of every registered queue, by name, from one read."""
    snapshot = storage.job_reader.snapshot()
    return [
        QueueGauges(
            queue_name=queue.settings.name,
            counts=queue.counts,
            oldest_due_age_s=queue.oldest_due_age_s,
            max_workers=max(queue.settings.max_workers, 0),
            is_paused=queue.settings.paused,
            is_throttled=queue.settings.name in snapshot.cooling,
        )
        for queue in snapshot.overview
    ]


def job_counters(storage: Storage) -> JobCounters:
    """Return the counters of all jobs, from one read.

    The names that were counted first keep their labels, also when their queue is
    deleted. Names after the first 200 are shown as ``_other``.
    """
    counters = storage.metrics.counters()
    jobs: dict[tuple[str, str], Tally] = {}
    for pair, tally in counters.jobs.items():
        label = pair if pair in counters.names.pairs else (OTHER, OTHER)
        jobs.setdefault(label, Tally()).merge(tally)
    times: dict[str, QueueTimes] = {}
    for queue_name, of_queue in counters.times.items():
        label_name = queue_name if queue_name in counters.names.queue_names else OTHER
        merged = times.setdefault(label_name, QueueTimes())
        merged.wait.merge(of_queue.wait)
        merged.run.merge(of_queue.run)
    return JobCounters(jobs, times)
