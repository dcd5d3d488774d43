"""Resource use of workers and performance of their database over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TypeVar

from flask_forge_jobs.handlers.series import LEAST_SERIES_S
from flask_forge_jobs.model.instants import SECOND_US, from_micros, to_micros
from flask_forge_jobs.model.metrics import SAMPLE_LEVELS, SampleSums, Window, window
from flask_forge_jobs.storage.base import Storage

# Per answer; of more workers the last started are shown.
MAX_BUCKETS_IN_ALL = 50_000
_MINUTE_US = 60 * SECOND_US
_PERCENTS = (50, 95, 99)
_NO_SAMPLES = SampleSums()


@dataclass(frozen=True, slots=True)
class ResourceBucket:
    """Means over the samples of one bucket; None without samples if gaps are shown."""

    at: datetime
    cpu_pct: float | None
    rss_bytes: int | None
    disk_read_bytes: int | None
    disk_write_bytes: int | None
    disk_used_pct: float | None


@dataclass(frozen=True, slots=True)
class DbHealthBucket:
    """Means over the samples of one bucket; None without samples if gaps are shown."""

    at: datetime
    read_p50_ms: int | None
    read_p95_ms: int | None
    read_p99_ms: int | None
    reads_per_min: int | None
    write_p50_ms: int | None
    write_p95_ms: int | None
    write_p99_ms: int | None
    writes_per_min: int | None
    pool_active: int | None
    pool_idle: int | None
    pool_max: int | None
    pool_used_pct: float | None
    db_size_bytes: int | None
    wal_bytes: int | None


B = TypeVar("B", ResourceBucket, DbHealthBucket)


@dataclass(frozen=True, slots=True)
class WorkerSeries:
    """The buckets of one worker."""

    worker_id: str
    buckets: Sequence[ResourceBucket | DbHealthBucket]


def worker_series(
    storage: Storage,
    bucket_type: type[B],
    *,
    start: datetime,
    end: datetime,
    bucket_secs: int,
    worker_id: str | None = None,
    gaps: str | None = None,
    now: datetime,
) -> list[WorkerSeries]:
    """Return the buckets of each worker, by worker id; at most 2,000 of each.

    Args:
        storage: The stores.
        bucket_type: :class:`ResourceBucket` or :class:`DbHealthBucket`.
        start: Start of the first bucket.
        end: Exclusive; at or before ``start`` there are no buckets.
        bucket_secs: Seconds of a bucket, at least 60.
        worker_id: Only this worker; None means all.
        gaps: ``null`` shows buckets without samples as None instead of 0.
        now: Decides which samples are still stored.
    """
    cut = window(start, end, bucket_secs, least_secs=LEAST_SERIES_S)
    has_gaps = gaps is not None
    return [
        WorkerSeries(name, buckets_of(bucket_type, cut, sums, has_gaps=has_gaps))
        for name, sums in _samples(storage, cut, now, worker_id).items()
    ]


def buckets_of(
    bucket_type: type[B],
    cut: Window,
    sums: Mapping[int, SampleSums],
    *,
    has_gaps: bool = True,
) -> list[B]:
    """Return the buckets of a window; None, or 0, are the figures of empty ones."""
    values_of = _VALUES[bucket_type]
    empty: Iterable[float | None] = values_of(_NO_SAMPLES, cut)
    if has_gaps:
        empty = [None] * (len(fields(bucket_type)) - 1)
    blank = tuple(empty)
    return [
        bucket_type(
            from_micros(at_us),
            *(values_of(sums[number], cut) if number in sums else blank),
        )
        for number, at_us in enumerate(cut.starts())
    ]


def _samples(
    storage: Storage, cut: Window, now: datetime, worker_id: str | None
) -> Mapping[str, Mapping[int, SampleSums]]:
    if not cut.count:
        return {}
    level = cut.level(to_micros(now), SAMPLE_LEVELS)
    by_worker = storage.samples.within(cut, level, worker_id)
    # Worker ids sort by start, so the oldest workers are left out.
    names = sorted(by_worker)[-max(MAX_BUCKETS_IN_ALL // cut.count, 1) :]
    return {name: by_worker[name] for name in names}


def _resources(sums: SampleSums, _cut: Window) -> Iterator[float]:
    yield sums.mean("cpu_pct")
    yield round(sums.mean("rss_bytes"))
    yield round(sums.mean("disk_read_bytes"))
    yield round(sums.mean("disk_write_bytes"))
    yield sums.mean("disk_used_pct")


def _db_health(sums: SampleSums, cut: Window) -> Iterator[float]:
    for histogram in (sums.reads, sums.writes):
        yield from (round(us / 1000) for us in histogram.percentiles(*_PERCENTS))
        yield round(histogram.count * _MINUTE_US / cut.width_us)
    yield round(sums.mean("pool_active"))
    yield round(sums.mean("pool_idle"))
    yield round(sums.mean("pool_max"))
    yield 100 * sums.pool_active / sums.pool_max if sums.pool_max else 0.0
    yield round(sums.mean("db_size_bytes"))
    yield round(sums.mean("wal_bytes"))


_VALUES: Mapping[type, Callable[[SampleSums, Window], Iterator[float]]] = {
    ResourceBucket: _resources,
    DbHealthBucket: _db_health,
}
