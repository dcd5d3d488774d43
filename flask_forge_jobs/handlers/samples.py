"""What worker processes used and how their database did, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_forge_jobs.handlers.series import LEAST_SERIES_S
from flask_forge_jobs.model.instants import SECOND_US, from_micros, to_micros
from flask_forge_jobs.model.metrics import Histogram, Window, window
from flask_forge_jobs.model.samples import SAMPLE_LEVELS, SampleSums
from flask_forge_jobs.storage.base import Storage

# In all series of one answer; of more processes the last started are shown.
MAX_BUCKETS_IN_ALL = 50_000
_MINUTE_US = 60 * SECOND_US
_PERCENTS = (50, 95, 99)
_NO_SAMPLES = SampleSums()


@dataclass(frozen=True, slots=True)
class ResourceBucket:
    """Means over the samples of one bucket; None where there is none and gaps show."""

    at: datetime
    cpu_pct: float | None
    rss_bytes: int | None
    disk_read_bytes: int | None
    disk_write_bytes: int | None
    disk_used_pct: float | None


@dataclass(frozen=True, slots=True)
class DbHealthBucket:
    """Means over the samples of one bucket; None where there is none and gaps show."""

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


@dataclass(frozen=True, slots=True)
class HostSeries:
    """The buckets of one worker process."""

    host: str
    buckets: Sequence[ResourceBucket] | Sequence[DbHealthBucket]


def resource_series(
    storage: Storage,
    *,
    start: datetime,
    end: datetime,
    bucket_secs: int,
    now: datetime,
    host: str | None = None,
    gaps: str | None = None,
) -> list[HostSeries]:
    """Return CPU, memory and disk of each worker process, by host id.

    Args:
        storage: Where the samples are.
        start: Where the first bucket begins.
        end: Not included; at or before ``start`` the answer is empty.
        bucket_secs: Width in seconds; less than 60 is raised to 60.
        now: Decides which samples are still kept.
        host: Only of this process; None means all.
        gaps: ``null`` shows a bucket without samples as None, else it shows zeros.

    Raises:
        InvalidInputError: There would be more than 2,000 buckets.
        StorageUnavailableError: The database could not be reached.
    """
    cut = window(start, end, bucket_secs, least_secs=LEAST_SERIES_S)
    found = _samples(storage, cut, now, host)
    return [
        HostSeries(
            name,
            [
                _resource_bucket(at_us, sums.get(number), shows_gaps=gaps is not None)
                for number, at_us in enumerate(cut.starts())
            ],
        )
        for name, sums in found.items()
    ]


def db_series(
    storage: Storage,
    *,
    start: datetime,
    end: datetime,
    bucket_secs: int,
    now: datetime,
    host: str | None = None,
    gaps: str | None = None,
) -> list[HostSeries]:
    """Return how the database did for each worker process, by host id.

    Args:
        storage: Where the samples are.
        start: Where the first bucket begins.
        end: Not included; at or before ``start`` the answer is empty.
        bucket_secs: Width in seconds; less than 60 is raised to 60.
        now: Decides which samples are still kept.
        host: Only of this process; None means all.
        gaps: ``null`` shows a bucket without samples as None, else it shows zeros.

    Raises:
        InvalidInputError: There would be more than 2,000 buckets.
        StorageUnavailableError: The database could not be reached.
    """
    cut = window(start, end, bucket_secs, least_secs=LEAST_SERIES_S)
    found = _samples(storage, cut, now, host)
    return [
        HostSeries(
            name,
            [
                _db_bucket(cut, at_us, sums.get(number), shows_gaps=gaps is not None)
                for number, at_us in enumerate(cut.starts())
            ],
        )
        for name, sums in found.items()
    ]


def _samples(
    storage: Storage, cut: Window, now: datetime, host: str | None
) -> Mapping[str, Mapping[int, SampleSums]]:
    if not cut.count:
        return {}
    level = cut.level(to_micros(now), SAMPLE_LEVELS)
    found = storage.samples.within(cut, level, host)
    # Host ids are sorted by start, so the oldest processes are left out.
    names = sorted(found)[-max(MAX_BUCKETS_IN_ALL // cut.count, 1) :]
    return {name: found[name] for name in names}


def _resource_bucket(
    at_us: int, sums: SampleSums | None, *, shows_gaps: bool
) -> ResourceBucket:
    at = from_micros(at_us)
    if sums is None and shows_gaps:
        return ResourceBucket(at, *[None] * 5)
    found = sums or _NO_SAMPLES
    return ResourceBucket(
        at,
        found.mean("cpu_pct"),
        round(found.mean("rss_bytes")),
        round(found.mean("disk_read_bytes")),
        round(found.mean("disk_write_bytes")),
        found.mean("disk_used_pct"),
    )


def _db_bucket(
    cut: Window, at_us: int, sums: SampleSums | None, *, shows_gaps: bool
) -> DbHealthBucket:
    at = from_micros(at_us)
    if sums is None and shows_gaps:
        return DbHealthBucket(at, *[None] * 14)
    found = sums or _NO_SAMPLES
    return DbHealthBucket(
        at,
        *_milliseconds(found.reads),
        _per_minute(found.reads, cut),
        *_milliseconds(found.writes),
        _per_minute(found.writes, cut),
        round(found.mean("pool_active")),
        round(found.mean("pool_idle")),
        round(found.mean("pool_max")),
        100 * found.pool_active / found.pool_max if found.pool_max else 0.0,
        round(found.mean("db_size_bytes")),
        round(found.mean("wal_bytes")),
    )


def _milliseconds(histogram: Histogram) -> tuple[int, int, int]:
    p50, p95, p99 = histogram.percentiles(*_PERCENTS)
    return round(p50 / 1000), round(p95 / 1000), round(p99 / 1000)


def _per_minute(histogram: Histogram, cut: Window) -> int:
    return round(histogram.count * _MINUTE_US / cut.width_us)
