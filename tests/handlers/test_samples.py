from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_forge_jobs.handlers import samples
from flask_forge_jobs.model.instants import SECOND_US, from_micros
from flask_forge_jobs.model.metrics import (
    SAMPLE_LEVELS,
    DatabaseHealth,
    ResourceUse,
    SampleSums,
)
from flask_forge_jobs.storage.base import Storage

START_US = 1_750_000_020 * SECOND_US  # the start of a minute
START = from_micros(START_US)
NOW = START + timedelta(hours=1)


def put(storage: Storage, host: str, minute: int, use: ResourceUse) -> None:
    """Store a sample with a read of 2 ms and three writes of 10 ms."""
    sums = SampleSums()
    health = DatabaseHealth(
        pool_active=3, pool_idle=7, pool_max=100, db_size_bytes=4096, wal_bytes=512
    )
    sums.add(use, health)
    sums.reads.record_many([2000])
    for _ in range(3):
        sums.writes.record_many([10_000])
    at_us = START_US + minute * 60 * SECOND_US
    levels = {
        (level, at_us - at_us % (level * SECOND_US)): sums for level in SAMPLE_LEVELS
    }
    storage.samples.put(host, levels)


def series_of(
    storage: Storage, bucket_type: type[samples.B], **more: Any
) -> list[samples.WorkerSeries]:
    asked: dict[str, Any] = {
        "start": START,
        "end": START + timedelta(minutes=3),
        "bucket_secs": 60,
    }
    return samples.worker_series(storage, bucket_type, now=NOW, **asked | more)


def test_resources_of_each_worker_by_id(storage: Storage) -> None:
    put(storage, "B", 0, ResourceUse(cpu_pct=12.5, rss_bytes=1001, disk_used_pct=41.0))
    put(storage, "A", 2, ResourceUse(disk_read_bytes=5, disk_write_bytes=6))

    a, b = series_of(storage, samples.ResourceBucket)

    assert (a.worker_id, b.worker_id) == ("A", "B")
    assert [bucket.at - START for bucket in a.buckets] == [
        timedelta(minutes=number) for number in range(3)
    ]
    assert b.buckets[0] == samples.ResourceBucket(START, 12.5, 1001, 0, 0, 41.0)
    assert b.buckets[1] == samples.ResourceBucket(
        START + timedelta(minutes=1), 0.0, 0, 0, 0, 0.0
    )


def test_gauges_of_a_wide_bucket_are_averaged(storage: Storage) -> None:
    put(storage, "A", 0, ResourceUse(cpu_pct=10.0, rss_bytes=1000))
    put(storage, "A", 1, ResourceUse(cpu_pct=20.0, rss_bytes=1001))

    [series] = series_of(storage, samples.ResourceBucket, bucket_secs=180)

    [bucket] = series.buckets
    assert isinstance(bucket, samples.ResourceBucket)
    assert (bucket.cpu_pct, bucket.rss_bytes) == (15.0, 1000)


def test_gaps_may_show(storage: Storage) -> None:
    put(storage, "A", 1, ResourceUse(cpu_pct=1.0))

    [resources] = series_of(storage, samples.ResourceBucket, gaps="null")
    [health] = series_of(storage, samples.DbHealthBucket, gaps="null")

    first, second, _ = resources.buckets
    assert isinstance(first, samples.ResourceBucket)
    assert isinstance(second, samples.ResourceBucket)
    assert (first.cpu_pct, first.rss_bytes, second.cpu_pct) == (None, None, 1.0)
    none, some, _ = health.buckets
    assert isinstance(none, samples.DbHealthBucket)
    assert isinstance(some, samples.DbHealthBucket)
    assert (none.pool_used_pct, none.wal_bytes, some.wal_bytes) == (None, None, 512)


def test_health_of_the_database(storage: Storage) -> None:
    put(storage, "A", 0, ResourceUse())

    [series] = series_of(storage, samples.DbHealthBucket, bucket_secs=90)

    bucket = series.buckets[0]
    assert isinstance(bucket, samples.DbHealthBucket)
    assert (bucket.read_p50_ms, bucket.write_p99_ms) == (2, 10)
    # One read and three writes in a minute and a half.
    assert (bucket.reads_per_min, bucket.writes_per_min) == (1, 2)
    assert (bucket.pool_active, bucket.pool_idle, bucket.pool_max) == (3, 7, 100)
    assert (bucket.pool_used_pct, bucket.db_size_bytes) == (3.0, 4096)


def test_one_process_may_be_asked_for(storage: Storage) -> None:
    put(storage, "A", 0, ResourceUse())
    put(storage, "B", 0, ResourceUse())

    found = series_of(storage, samples.ResourceBucket, worker_id="B")

    assert [series.worker_id for series in found] == ["B"]
    assert series_of(storage, samples.DbHealthBucket, worker_id="C") == []


@pytest.mark.parametrize("shown", [samples.ResourceBucket, samples.DbHealthBucket])
def test_an_empty_window_is_empty(storage: Storage, shown: Any) -> None:
    put(storage, "A", 0, ResourceUse())

    assert series_of(storage, shown, end=START) == []


def test_of_many_processes_the_last_started_are_shown(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MAX_BUCKETS_IN_ALL", 7)
    for host in ("A", "C", "B"):
        put(storage, host, 0, ResourceUse())

    found = series_of(storage, samples.ResourceBucket)

    assert [series.worker_id for series in found] == ["B", "C"]
