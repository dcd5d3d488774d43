"""The upkeep of counts and metrics; safe in any number of processes."""

from __future__ import annotations

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.jobs.admin import JobAdmin
from flask_forge_jobs.storage.metrics import MetricStore
from flask_forge_jobs.storage.samples import SampleStore

PERIOD_S = 2.0
METRICS_PERIOD_S = 300.0


class Upkeep(Duty):
    """Folds the changes of the job counts."""

    def __init__(self, job_admin: JobAdmin) -> None:
        super().__init__("upkeep", PERIOD_S)
        self._job_admin = job_admin

    def tick(self) -> None:
        """Fold once."""
        self._job_admin.fold_counts()


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
    # Rows that are folded too early are written again and count twice, so neither
    # clock alone may decide.
    now_us = min(clock.now_us(), metrics.now_us())
    merged = metrics.fold(now_us)
    return merged, metrics.prune(now_us) + samples.prune(now_us)
