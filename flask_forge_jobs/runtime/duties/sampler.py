"""Sampler: measures the resources of a worker process."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
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
_STATM, _IO = Path("/proc/self/statm"), Path("/proc/self/io")
_MAX_HELD = 1000  # buckets kept while the database is unavailable


class ResourceMeter:
    """Measures this process between two calls."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cores = os.cpu_count() or 1
        self._began_at, self._cpu_s = time.monotonic(), time.process_time()
        self._disk = _disk_bytes()

    def use(self) -> ResourceUse:
        """Return CPU time and disk traffic since the last call."""
        before, self._disk = self._disk, _disk_bytes()
        began_at, self._began_at = self._began_at, time.monotonic()
        cpu_s, self._cpu_s = self._cpu_s, time.process_time()
        elapsed_s = max(self._began_at - began_at, 0.001)
        return ResourceUse(
            cpu_pct=100 * (self._cpu_s - cpu_s) / elapsed_s / self._cores,
            rss_bytes=_rss_bytes(),
            disk_read_bytes=max(self._disk[0] - before[0], 0),
            disk_write_bytes=max(self._disk[1] - before[1], 0),
            disk_used_pct=self._disk_used_pct(),
        )

    def _disk_used_pct(self) -> float:
        try:
            volume = shutil.disk_usage(self._directory)
        except OSError:
            return 0.0
        return 100 * volume.used / max(volume.used + volume.free, 1)


def _rss_bytes() -> int:
    """Return the memory in use; where Linux does not tell it, the most so far."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()


def _disk_bytes() -> tuple[int, int]:
    """Return what was read and written so far; zeros where Linux does not tell it."""
    try:
        lines = _IO.read_text().splitlines()
    except OSError:
        return (0, 0)
    counters = dict(line.split(": ") for line in lines)
    return int(counters["read_bytes"]), int(counters["write_bytes"])


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
