"""The figures behind the Prometheus metrics."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.model.metrics import Tally
from flask_forge_jobs.model.queues import QueueCounts
from flask_forge_jobs.storage.base import Storage
from flask_forge_jobs.storage.metrics import QueueTimes

# Whoever may enqueue may invent names, and a label value is never forgotten: beyond so
# many the rest is shown together (S32).
MAX_SERIES = 200
OTHER = "_other"


@dataclass(frozen=True, slots=True)
class QueueGauges:
    """What one registered queue shows to Prometheus."""

    queue_name: str
    counts: QueueCounts
    oldest_due_age_s: int
    max_workers: int
    is_paused: bool
    is_throttled: bool


@dataclass(frozen=True, slots=True)
class JobCounters:
    """Everything that was ever counted, with at most 200 label values each.

    Args:
        jobs: By queue and kind.
        times: By queue.
    """

    jobs: Mapping[tuple[str, str], Tally]
    times: Mapping[str, QueueTimes]


def queue_gauges(storage: Storage, now: datetime) -> list[QueueGauges]:
    """Return the gauges of every registered queue, by name, from one read.

    Args:
        storage: Where the queues are.
        now: Decides whether a cool-down still holds.

    Raises:
        StorageUnavailableError: The database could not be reached.
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
    """Return what was counted of all jobs, from two reads.

    Whoever was counted first keeps its labels; a queue that is not registered, and what
    comes after the first 200, is shown as ``_other``.

    Args:
        storage: Where the figures are.

    Raises:
        StorageUnavailableError: The database could not be reached.
    """
    known = {queue.name for queue in storage.queues.all()}
    counters = storage.metrics.counters()
    jobs: dict[tuple[str, str], Tally] = {}
    shown = _first(counters.jobs, known)
    for pair, tally in counters.jobs.items():
        label = pair if pair in shown else (OTHER, OTHER)
        jobs.setdefault(label, Tally()).merge(tally)
    times: dict[str, QueueTimes] = {}
    # In the order in which the queues were first counted.
    queue_names = {queue_name: None for queue_name, _ in counters.jobs}
    named = set([name for name in queue_names if name in known][:MAX_SERIES])
    for queue_name, of_queue in counters.times.items():
        label_name = queue_name if queue_name in named else OTHER
        merged = times.setdefault(label_name, QueueTimes())
        merged.wait.merge(of_queue.wait)
        merged.run.merge(of_queue.run)
    return JobCounters(jobs, times)


def _first(
    pairs: Iterable[tuple[str, str]], known: Collection[str]
) -> set[tuple[str, str]]:
    registered: Sequence[tuple[str, str]] = [pair for pair in pairs if pair[0] in known]
    return set(registered[:MAX_SERIES])
