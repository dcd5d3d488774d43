"""Charts of what waits and runs in queues, and of their free slots and workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from flask_forge_jobs.handlers.series import LEAST_SERIES_S, MAX_NAMES, checked_names
from flask_forge_jobs.model.gauges import Gauges
from flask_forge_jobs.model.instants import SECOND_US, from_micros, to_micros
from flask_forge_jobs.model.metrics import SAMPLE_LEVELS, Window, window
from flask_forge_jobs.storage.base import Storage

# Most stored buckets to read where a wider level can show the same window.
MAX_ROWS = 6000
# Most buckets of all queues together; more take longer than a page may.
MAX_POINTS = 2500
_Means = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class GaugeSeries:
    """The buckets of one queue; the empty name stands for all together.

    ``start`` and ``bucket_secs`` say where they lie. They hold means over the samples,
    and the oldest wait; None without a sample.
    """

    name: str
    start: datetime
    bucket_secs: int
    waiting: _Means
    oldest_wait_s: Sequence[int | None]
    running: _Means
    free_slots: _Means
    live_workers: _Means


@dataclass(frozen=True, slots=True)
class GaugeList:
    """The first queues, and how many there are in all."""

    series: Sequence[GaugeSeries]
    total: int


def gauges(
    storage: Storage,
    *,
    names: Sequence[str],
    start: datetime,
    end: datetime,
    bucket_secs: int,
    now: datetime,
    queue_names: Sequence[str] | None = None,
) -> GaugeList:
    """Return the gauges of several queues, by name.

    Names and buckets are limited as in :func:`.series.series`. No names mean
    ``queue_names``, or the registered queues if that is None, and then wider buckets if
    there would be more than 2,500. Buckets are at least 60 s wide.
    """
    cut = window(start, end, bucket_secs, least_secs=LEAST_SERIES_S)
    chosen: Sequence[str] = checked_names(names, cut)
    total = len(chosen)
    if not chosen:
        known = queue_names
        if known is None:
            known = [queue.name for queue in storage.queues.all()]
        chosen, total = sorted(known)[:MAX_NAMES], len(known)
        cut = _widened(cut, len(chosen))
    level = cut.widest(_level(cut, to_micros(now), len(chosen)), SAMPLE_LEVELS)
    by_queue = storage.gauges.within(cut, level, chosen) if cut.count else {}
    return GaugeList(
        [_series(name, cut, by_queue.get(name, {})) for name in chosen], total
    )


def _widened(cut: Window, queues: int) -> Window:
    """Return a window of the queues with few enough buckets, at whole multiples."""
    if cut.count * queues <= MAX_POINTS:
        return cut
    step_us = SAMPLE_LEVELS[-1] * SECOND_US
    # One bucket more than fits, since the first one begins before the window.
    fitting = max(MAX_POINTS // queues - 1, 1)
    width_us = -((cut.start_us - cut.end_us) // (fitting * step_us)) * step_us
    return cut.in_buckets(width_us)


def _series(name: str, cut: Window, by_number: Mapping[int, Gauges]) -> GaugeSeries:
    oldest: list[int | None] = [None] * cut.count
    columns: list[list[float | None]] = [[None] * cut.count for _ in range(4)]
    waiting, running, free_slots, live_workers = columns
    for number, sums in by_number.items():
        count = sums.samples
        oldest[number] = sums.oldest_wait_s
        waiting[number] = _mean(sums.waiting, count)
        running[number] = _mean(sums.running, count)
        free_slots[number] = _mean(sums.free_slots, count)
        live_workers[number] = _mean(sums.live_workers, count)
    return GaugeSeries(
        name,
        from_micros(cut.start_us),
        cut.width_us // SECOND_US,
        waiting,
        oldest,
        running,
        free_slots,
        live_workers,
    )


def _level(cut: Window, now_us: int, queues: int) -> int:
    """Return the width in seconds of the stored buckets to read.

    It is the finest that is kept, but for many queues one that makes fewer rows.
    """
    finest = cut.level(now_us, SAMPLE_LEVELS)
    fitting = [
        level
        for level in SAMPLE_LEVELS
        if finest <= level and level * SECOND_US <= cut.width_us
    ]
    span_us = cut.end_us - cut.start_us
    for level in fitting:
        if span_us * queues <= level * SECOND_US * MAX_ROWS:
            return level
    return fitting[-1] if fitting else finest


@lru_cache(maxsize=4096)
def _mean(total: int, count: int) -> float:
    # Kept, because few differ: most queues have the same slots all day.
    whole, rest = divmod(total, count)
    return round(total / count, 2) if rest else whole
