"""Samples of worker processes on both backends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask_forge_jobs.model.instants import DAY_US, SECOND_US, to_micros
from flask_forge_jobs.model.metrics import (
    DatabaseHealth,
    ResourceUse,
    SampleSums,
    window,
)
from flask_forge_jobs.storage.base import Storage

NOON = datetime(2026, 9, 16, 12, tzinfo=UTC)
NOON_US = to_micros(NOON)
MINUTE = window(NOON, NOON + timedelta(minutes=1), 10)


def _sums(cpu_pct: float, size: int = 4096) -> SampleSums:
    sums = SampleSums()
    sums.add(ResourceUse(cpu_pct=cpu_pct), DatabaseHealth(db_size_bytes=size))
    sums.reads.record_many([1500])
    return sums


def test_samples_of_each_worker_by_bucket(storage: Storage) -> None:
    hour = window(NOON, NOON + timedelta(hours=1), 600)
    put = storage.samples.put
    put("B", {(60, NOON_US): _sums(10.0), (60, NOON_US + 60 * SECOND_US): _sums(20.0)})
    put("A", {(60, NOON_US + 3599 * SECOND_US): _sums(30.0)})
    put("A", {(60, NOON_US + 3600 * SECOND_US): _sums(99.0)})

    found = storage.samples.within(hour, 60)

    assert list(found) == ["A", "B"]
    assert (found["B"][0].samples, found["B"][0].mean("cpu_pct")) == (2, 15.0)
    assert found["B"][0].reads.count == 2
    assert {number: each.samples for number, each in found["A"].items()} == {5: 1}
    assert list(storage.samples.within(hour, 60, "A")) == ["A"]
    assert storage.samples.within(hour, 60, "nobody") == {}
    assert storage.samples.within(hour, 300) == {}


def test_samples_written_again_replace(storage: Storage) -> None:
    storage.samples.put("A", {(60, NOON_US): _sums(10.0)})
    storage.samples.put("A", {(60, NOON_US): _sums(30.0, 1)})

    bucket = storage.samples.within(MINUTE, 60)["A"][0]

    assert (bucket.samples, bucket.cpu_pct, bucket.db_size_bytes) == (1, 30.0, 1)


def test_samples_are_pruned(storage: Storage) -> None:
    storage.samples.put(
        "A", {(level, NOON_US): _sums(1.0) for level in (60, 300, 1800)}
    )

    assert storage.samples.prune(NOON_US + 2 * DAY_US) == 1
    assert storage.samples.prune(NOON_US + 31 * DAY_US) == 2


def test_the_database_tells_how_large_it_is(storage: Storage) -> None:
    storage.queues.ensure("mail")  # something to be in SQLite's log

    health = storage.samples.health()

    assert health.db_size_bytes > 10_000
    if storage.backend == "sqlite":
        assert health.wal_bytes > 0
        assert (health.pool_active, health.pool_idle, health.pool_max) == (0, 0, 0)
    else:
        assert health.wal_bytes == 0
        assert 0 <= health.pool_active + health.pool_idle < health.pool_max
