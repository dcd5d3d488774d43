"""The queues as Prometheus gauges, on a registry of our own.

The families are collected at scrape time and rendered by prometheus-flask-exporter. Two
things of theirs do not fit the contract and are handled here: in the multiprocess mode
of prometheus-client the exporter reads the files of that mode instead of the registry
it was given, and a gauge of a million is printed as ``1e+06``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from prometheus_flask_exporter import PrometheusMetrics

from flask_forge_jobs.handlers.metrics import QueueGauges

# Name, help text, value; the names and their order are a contract with dashboards.
FAMILIES: tuple[tuple[str, str, Callable[[QueueGauges], int]], ...] = (
    (
        "queue_pending_jobs",
        "Jobs a worker could claim now.",
        lambda queue: queue.counts.pending,
    ),
    (
        "queue_scheduled_jobs",
        "Pending jobs whose start time lies ahead.",
        lambda queue: queue.counts.scheduled,
    ),
    (
        "queue_in_flight_jobs",
        "Jobs being run.",
        lambda queue: queue.counts.in_progress,
    ),
    (
        "queue_done_jobs",
        "Finished jobs still stored.",
        lambda queue: queue.counts.done,
    ),
    (
        "queue_failed_jobs",
        "Failed jobs waiting for their next attempt.",
        lambda queue: queue.counts.failed,
    ),
    (
        "queue_dead_jobs",
        "Jobs that ended without success.",
        lambda queue: queue.counts.dead,
    ),
    (
        "queue_oldest_pending_age_seconds",
        "Seconds the oldest claimable job has waited.",
        lambda queue: queue.oldest_due_age_s,
    ),
    (
        "queue_max_workers",
        "Configured worker total.",
        lambda queue: queue.max_workers,
    ),
    (
        "queue_paused",
        "1 while the queue is paused.",
        lambda queue: int(queue.is_paused),
    ),
    (
        "queue_throttled",
        "1 while the queue is cooling down.",
        lambda queue: int(queue.is_throttled),
    ),
)
_MULTIPROCESS_KEYS = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")

ReadGauges = Callable[[], Sequence[QueueGauges]]


class QueueCollector(Collector):
    """Yields the ten families; the storage is asked once for each scrape.

    Args:
        read: Returns the gauges of every queue, by name.
    """

    def __init__(self, read: ReadGauges) -> None:
        self._read = read

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield one family after the other, also when there is no queue."""
        queues = self._read()
        for name, documentation, value_of in FAMILIES:
            family = GaugeMetricFamily(name, documentation, labels=["queue"])
            for queue in queues:
                family.add_metric([queue.queue_name], value_of(queue))
            yield family

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Name nothing, so that registering does not read the storage."""
        return ()


class QueueExposition:
    """Renders the queues in Prometheus' text format 0.0.4.

    Args:
        read: Returns the gauges of every queue, by name.
    """

    def __init__(self, read: ReadGauges) -> None:
        self._registry = CollectorRegistry()
        self._metrics = PrometheusMetrics.for_app_factory(
            path=None, export_defaults=False, registry=self._registry
        )
        self._registry.register(QueueCollector(read))

    def render(self) -> str:
        """Return the text of one scrape.

        Raises:
            StorageUnavailableError: The database could not be reached.
        """
        if any(key in os.environ for key in _MULTIPROCESS_KEYS):
            text = generate_latest(self._registry).decode()
        else:
            text, _ = self._metrics.generate_metrics()
        # Not splitlines(): a label may hold one of Unicode's other line separators.
        lines = text.removesuffix("\n").split("\n")
        return "".join(f"{_with_whole_number(line)}\n" for line in lines)


def _with_whole_number(line: str) -> str:
    if line.startswith("#"):
        return line
    sample, _, value = line.rpartition(" ")
    return f"{sample} {int(float(value))}"
