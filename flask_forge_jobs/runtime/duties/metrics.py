"""Upkeep of the metrics, in every process: merges them, and drops old ones."""

from __future__ import annotations

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.metrics import MetricStore
from flask_forge_jobs.storage.samples import SampleStore

METRICS_PERIOD_S = 300.0


class MetricsUpkeep(Duty):
    """Merges the metrics of all processes and drops old ones."""

    def __init__(
        self, metrics: MetricStore, samples: SampleStore, clock: Clock
    ) -> None:
        super().__init__("metrics-upkeep", METRICS_PERIOD_S, clock=clock)
        self._metrics = metrics
        self._samples = samples

    def tick(self) -> None:
        """Fold and prune once."""
        fold_metrics(self._metrics, self._samples, self._clock)


def fold_metrics(
    metrics: MetricStore, samples: SampleStore, clock: Clock
) -> tuple[int, int]:
    """Merge the metrics of all processes, drop old ones; return the number of each."""
    # Rows that are folded too early are written anew each time, and what is pruned too
    # early is lost, so neither clock alone may decide.
    now_us = min(clock.now_us(), metrics.now_us())
    merged = metrics.fold(now_us)
    return merged, metrics.prune(now_us) + samples.prune(now_us)
