"""Prometheus metrics of queues, jobs and requests, on a registry of our own.

The ten gauges of the queues come first. The metrics of jobs cover the whole cluster,
those of requests only the server process that answers, or all of its processes in
prometheus-client's multiprocess mode.

prometheus-flask-exporter renders them. This module works around two of its habits: in
multiprocess mode it ignores the registry it was given, and it prints a gauge of a
million as ``1e+06``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from math import inf
from operator import attrgetter
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from prometheus_flask_exporter import PrometheusMetrics

from flask_forge_jobs.handlers.metrics import JobCounters, QueueGauges
from flask_forge_jobs.model.batches import BatchOverview
from flask_forge_jobs.model.histograms import Histogram
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.metrics import Tally
from flask_forge_jobs.model.standby import StandbyState
from flask_forge_jobs.model.workers import ServiceAge
from flask_forge_jobs.request_metrics import is_multiprocess
from flask_forge_jobs.storage.base import OpenSnapshot
from flask_forge_jobs.storage.metrics import QueueTimes

# Reads a file of the distribution each time.
_version = cache(version)

# Name, help text, attribute. Dashboards rely on the names and their order.
FAMILIES = (
    ("queue_pending_jobs", "Jobs a worker could claim now.", "counts.pending"),
    (
        "queue_scheduled_jobs",
        "Pending jobs whose start time lies ahead.",
        "counts.scheduled",
    ),
    ("queue_in_flight_jobs", "Jobs being run.", "counts.in_progress"),
    ("queue_done_jobs", "Finished jobs still stored.", "counts.done"),
    (
        "queue_failed_jobs",
        "Failed jobs waiting for their next attempt.",
        "counts.failed",
    ),
    ("queue_dead_jobs", "Jobs that ended without success.", "counts.dead"),
    (
        "queue_oldest_pending_age_seconds",
        "Seconds the oldest claimable job has waited.",
        "oldest_due_age_s",
    ),
    ("queue_max_workers", "Configured worker total.", "max_workers"),
    ("queue_paused", "1 while the queue is paused.", "is_paused"),
    ("queue_throttled", "1 while the queue is cooling down.", "is_throttled"),
)
# Upper bounds of the histogram buckets.
BUCKETS_S = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600,
)  # fmt: skip

T = TypeVar("T")
ReadGauges = Callable[[], Sequence[QueueGauges]]


class _Collector(Collector, Generic[T]):
    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not read the storage."""
        return ()


class QueueCollector(_Collector[Sequence[QueueGauges]]):
    """Yields the ten gauges of each queue, with one read per scrape."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield every family, also when there is no queue."""
        queues = self._read()
        for name, documentation, attribute in FAMILIES:
            family = GaugeMetricFamily(name, documentation, labels=["queue"])
            value_of = attrgetter(attribute)
            for queue in queues:
                family.add_metric([queue.queue_name], int(value_of(queue)))
            yield family


class JobCollector(_Collector[JobCounters]):
    """Yields counters by queue and kind, and histograms by queue."""

    def __init__(self, read: Callable[[], JobCounters], backend: str) -> None:
        super().__init__(read)
        self._backend = backend

    def collect(self) -> Iterable[Metric]:
        """Yield every family, with one read."""
        figures = self._read()
        yield _counter("enqueued", "Jobs stored.", figures.jobs)
        yield _counter("completed", "Jobs that ended with success.", figures.jobs)
        yield _counter("dead", "Jobs that were given up.", figures.jobs)
        yield _counter("cancelled", "Jobs that a user cancelled.", figures.jobs)
        yield _counter(
            "refused", "Runs that ended after they had lost their job.", figures.jobs
        )
        yield _histogram(
            "run", "Run time of jobs that ended with success.", figures.times
        )
        yield _histogram(
            "wait", "Time from due to the start of the run.", figures.times
        )
        build = GaugeMetricFamily(
            "forge_jobs_build_info",
            "What is running; always 1.",
            labels=["version", "backend", "python"],
        )
        build.add_metric(
            [_version("flask-forge-jobs"), self._backend, platform.python_version()], 1
        )
        yield build


class ServiceCollector(_Collector[Iterable[ServiceAge]]):
    """Yields the age of the last tick of each worker service."""

    def collect(self) -> Iterable[Metric]:
        """Yield one family, with one read."""
        family = GaugeMetricFamily(
            "forge_jobs_service_tick_age_seconds",
            "Seconds since a worker service last completed its work.",
            labels=["service"],
        )
        for each in self._read():
            family.add_metric([each.name], round(each.age_s, 3))
        yield family


class BatchCollector(_Collector[BatchOverview]):
    """Yields how many batches are open, and how many jobs wait for others."""

    def collect(self) -> Iterable[Metric]:
        """Yield two families, with one read."""
        overview = self._read()
        yield GaugeMetricFamily(
            "forge_jobs_batches_open", "Batches that have not ended.", overview.open
        )
        yield GaugeMetricFamily(
            "forge_jobs_waiting", "Jobs that wait for other jobs.", overview.waiting
        )


class SnapshotCollector(_Collector[OpenSnapshot | None]):
    """Yields the age of the oldest open snapshot of a PostgreSQL database."""

    def collect(self) -> Iterable[Metric]:
        """Yield one family, with one read."""
        figures = self._read()
        yield GaugeMetricFamily(
            "forge_jobs_oldest_snapshot_age_seconds",
            "Age of the oldest open transaction; 0 if there is none.",
            0.0 if figures is None else round(figures.age_s, 3),
        )


class StandbyCollector(_Collector[StandbyState]):
    """Yields how far the standby for reads is behind."""

    def collect(self) -> Iterable[Metric]:
        """Yield one family; +Inf means that the standby cannot be used."""
        lag_s = self._read().lag_s
        yield GaugeMetricFamily(
            "forge_jobs_standby_lag_seconds",
            "How far the standby for reads is behind; +Inf if it is of no use.",
            inf if lag_s is None else round(lag_s, 3),
        )


def _counter(
    word: str, documentation: str, jobs: Mapping[tuple[str, str], Tally]
) -> CounterMetricFamily:
    family = CounterMetricFamily(
        f"forge_jobs_{word}", documentation, labels=["queue", "kind"]
    )
    for labels, tally in sorted(jobs.items()):
        family.add_metric(labels, getattr(tally, word))
    return family


def _histogram(
    word: str, documentation: str, times: Mapping[str, QueueTimes]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(
        f"forge_jobs_{word}_seconds", documentation, labels=["queue"]
    )
    limits_us = [round(limit_s * SECOND_US) for limit_s in BUCKETS_S]
    for queue_name in sorted(times):
        histogram: Histogram = getattr(times[queue_name], word)
        counts = histogram.counts_up_to(limits_us)
        buckets = [
            (floatToGoString(limit_s), float(count))  # type: ignore[no-untyped-call]
            for limit_s, count in zip(BUCKETS_S, counts, strict=True)
        ]
        buckets.append(("+Inf", float(histogram.count)))
        family.add_metric([queue_name], buckets, histogram.sum_us / SECOND_US)
    return family


class QueueExposition:
    """Renders the queues in Prometheus' text format 0.0.4."""

    def __init__(self, read: ReadGauges, others: Iterable[Collector] = ()) -> None:
        self._registry = CollectorRegistry()
        self._metrics = PrometheusMetrics.for_app_factory(
            path=None, export_defaults=False, registry=self._registry
        )
        self._registry.register(QueueCollector(read))
        for collector in others:
            self._registry.register(collector)

    def render(self) -> str:
        """Return the text of one scrape.

        Raises:
            StorageUnavailableError: The database could not be reached.
        """
        if is_multiprocess():
            text = generate_latest(self._registry).decode()
        else:
            text, _ = self._metrics.generate_metrics()
        # Not splitlines(): a label may contain another of Unicode's line separators.
        lines = text.removesuffix("\n").split("\n")
        return "".join(f"{_with_whole_number(line)}\n" for line in lines)


def _with_whole_number(line: str) -> str:
    if line.startswith("#"):
        return line
    sample, _, value = line.rpartition(" ")
    number = float(value)
    return f"{sample} {int(number)}" if number.is_integer() else line
