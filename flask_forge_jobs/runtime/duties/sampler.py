"""Sampler: measures the resources of a worker process."""

from __future__ import annotations

from pathlib import Path

from flask_forge_jobs.clock import Clock
from flask_forge_jobs.model.instants import SECOND_US
from flask_forge_jobs.model.metrics import (
    SAMPLE_LEVELS,
    ResourceUse,
    SampleSums,
    floor_to,
)
from flask_forge_jobs.runtime.service import Duty
from flask_forge_jobs.storage.recorder import Recorder
from flask_forge_jobs.storage.samples import SampleStore

SAMPLE_PERIOD_S = 60.0
_MAX_HELD = 1000  # buckets kept while the database is unavailable


class ResourceMeter:
    """Measures this process between two calls."""

    def __init__(self, directory: Path) -> None:
        import psutil  # here, because it loads slowly

        self._psutil = psutil
        self._directory = directory
        self._process = psutil.Process()
        self._cores = psutil.cpu_count() or 1
        self._process.cpu_percent()  # the first call starts the measurement
        self._disk = self._disk_bytes()

    def use(self) -> ResourceUse:
        """Return CPU time and disk traffic since the last call."""
        before, self._disk = self._disk, self._disk_bytes()
        return ResourceUse(
            cpu_pct=self._process.cpu_percent() / self._cores,
            rss_bytes=self._process.memory_info().rss,
            disk_read_bytes=max(self._disk[0] - before[0], 0),
            disk_write_bytes=max(self._disk[1] - before[1], 0),
            disk_used_pct=self._disk_used_pct(),
        )

    def _disk_bytes(self) -> tuple[int, int]:
        try:
            counters = self._process.io_counters()
        except (AttributeError, self._psutil.Error):  # unsupported or not allowed
            return (0, 0)
        return (counters.read_bytes, counters.write_bytes)

    def _disk_used_pct(self) -> float:
        try:
            return float(self._psutil.disk_usage(str(self._directory)).percent)
        except OSError:
            return 0.0


class Sampler(Duty):
    """Stores once a minute the use of this process and the database's health."""

    def __init__(
        self,
        store: SampleStore,
        recorder: Recorder,
        *,
        worker_id: str,
        directory: Path,
        clock: Clock,
    ) -> None:
        super().__init__("sampler", SAMPLE_PERIOD_S, clock=clock)
        self._store = store
        self._recorder = recorder
        self._worker_id = worker_id
        self._directory = directory
        self._meter: ResourceMeter | None = None
        self._held: dict[tuple[int, int], SampleSums] = {}

    def tick(self) -> bool:
        """Take one sample; the first call only starts the measurement."""
        if self._meter is None:
            self._meter = ResourceMeter(self._directory)
            self._recorder.take_operations()
            return False
        use = self._meter.use()
        operations = self._recorder.take_operations()
        now_us = self._clock.now_us()
        health = self._store.health()
        for level in SAMPLE_LEVELS:
            key = (level, floor_to(now_us, level))
            sums = self._held.setdefault(key, SampleSums())
            sums.add(use, health)
            sums.reads.merge(operations.reads)
            sums.writes.merge(operations.writes)
        for key in sorted(self._held)[:-_MAX_HELD]:
            del self._held[key]
        self._store.put(self._worker_id, self._held)
        for level, bucket_us in list(self._held):
            if bucket_us + level * SECOND_US <= now_us:
                del self._held[level, bucket_us]
        return True
