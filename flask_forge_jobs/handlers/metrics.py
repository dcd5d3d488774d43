"""The values of the Prometheus metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.model.metrics import Tally
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.metrics import QueueTimes

# Callers may invent names, and Prometheus keeps every label value: the names after
# the first 200 share one label.
MAX_SERIES = 200
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


def queue_gauges(storage: Storage, now: datetime) -> list[QueueGauges]:
    """Return the gauges of every registered queue, by name, from one read.

    ``now`` decides whether a cool-down still holds.
    """
    gauges = []
    for queue in storage.job_reader.snapshot().overview:
        until = queue.settings.throttled_until
        gauges.append(
            QueueGauges(
                queue_name=queue.settings.name,
                counts=queue.counts,
                oldest_due_age_s=queue.oldest_due_age_s,
                max_workers=max(queue.settings.max_workers, 0),
                is_paused=queue.settings.paused,
                is_throttled=until is not None and until > now,
            )
        )
    return gauges


def job_counters(storage: Storage) -> JobCounters:
    """Return the counters of all jobs, from two reads.

    The names that were counted first keep their labels. Unregistered queues, and names
    after the first 200, are shown as ``_other``.
    """
    known = {queue.name for queue in storage.queues.all()}
    counters = storage.metrics.counters()
    jobs: dict[tuple[str, str], Tally] = {}
    shown = set([pair for pair in counters.jobs if pair[0] in known][:MAX_SERIES])
    for pair, tally in counters.jobs.items():
        label = pair if pair in shown else (OTHER, OTHER)
        jobs.setdefault(label, Tally()).merge(tally)
    times: dict[str, QueueTimes] = {}
    # Ordered by their first count.
    queue_names = {queue_name: None for queue_name, _ in counters.jobs}
    named = set([name for name in queue_names if name in known][:MAX_SERIES])
    for queue_name, of_queue in counters.times.items():
        label_name = queue_name if queue_name in named else OTHER
        merged = times.setdefault(label_name, QueueTimes())
        merged.wait.merge(of_queue.wait)
        merged.run.merge(of_queue.run)
    return JobCounters(jobs, times)
