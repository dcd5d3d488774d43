"""Charts of what waits and runs in queues, and of their free slots and workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from flask_forge_jobs.handlers.series import (
    LEAST_SERIES_S,
    MAX_BUCKETS_IN_ALL,
    MAX_NAMES,
    checked_names,
)
from flask_forge_jobs.model.gauges import Gauges
from flask_forge_jobs.model.instants import SECOND_US, from_micros, to_micros
from flask_forge_jobs.model.metrics import SAMPLE_LEVELS, Window, window
from flask_forge_jobs.storage.base import Storage

# Most stored buckets to read where a wider level can show the same window.
MAX_ROWS = 6000
_GAP = (None,) * 5


class GaugeBucket(NamedTuple):
    """Means over the samples of one bucket, and the oldest wait; None without one."""

    at: datetime
    waiting: float | None
    oldest_wait_s: int | None
    running: float | None
    free_slots: float | None
    live_workers: float | None


@dataclass(frozen=True, slots=True)
class GaugeSeries:
    """The buckets of one queue; the empty name stands for all together."""

    name: str
    buckets: Sequence[GaugeBucket]


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
    ``queue_names``, or the registered queues if that is None. Buckets are at least 60 s
    wide.
    """
    cut = window(start, end, bucket_secs, least_secs=LEAST_SERIES_S)
    known: Sequence[str] = checked_names(names, cut)
    if not known and queue_names is not None:
        known = sorted(queue_names)
    elif not known:
        known = [queue.name for queue in storage.queues.all()]
    chosen = known[: min(MAX_NAMES, MAX_BUCKETS_IN_ALL // max(cut.count, 1))]
    level = _level(cut, to_micros(now), len(chosen))
    by_queue = storage.gauges.within(cut, level, chosen) if cut.count else {}
    first, width = from_micros(cut.start_us), timedelta(microseconds=cut.width_us)
    instants = [first + number * width for number in range(cut.count)]
    shown = []
    for name in chosen:
        sums = by_queue.get(name, {})
        buckets = [
            GaugeBucket(at, *(_means(sums[number]) if number in sums else _GAP))
            for number, at in enumerate(instants)
        ]
        shown.append(GaugeSeries(name, buckets))
    return GaugeList(shown, len(known))


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


def _means(sums: Gauges) -> tuple[float, int, float, float, float]:
    count = sums.samples
    return (
        _mean(sums.waiting, count),
        sums.oldest_wait_s,
        _mean(sums.running, count),
        _mean(sums.free_slots, count),
        _mean(sums.live_workers, count),
    )


def _mean(total: int, count: int) -> float:
    whole, rest = divmod(total, count)
    return round(total / count, 2) if rest else whole
