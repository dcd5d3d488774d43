from __future__ import annotations

from flask_forge_jobs.model.samples import DatabaseHealth, ResourceUse, SampleSums

USE = ResourceUse(
    cpu_pct=12.5,
    rss_bytes=1000,
    disk_read_bytes=1,
    disk_write_bytes=2,
    disk_used_pct=41.0,
)
HEALTH = DatabaseHealth(
    pool_active=1, pool_idle=2, pool_max=100, db_size_bytes=5000, wal_bytes=70
)


def test_samples_add_up_and_have_a_mean() -> None:
    sums = SampleSums()
    sums.add(USE, HEALTH)
    sums.add(ResourceUse(cpu_pct=7.5, rss_bytes=3000), HEALTH)

    assert sums.samples == 2
    assert (sums.mean("cpu_pct"), sums.mean("rss_bytes")) == (10.0, 2000.0)
    assert (sums.pool_max, sums.mean("pool_max")) == (200, 100.0)


def test_buckets_merge_into_what_all_their_samples_would_have_made() -> None:
    one, two, both = SampleSums(), SampleSums(), SampleSums()
    for part in (one, two):
        part.add(USE, HEALTH)
        both.add(USE, HEALTH)
        part.reads.record(100)
        both.reads.record(100)

    one.merge(two)

    assert one == both


def test_no_samples_have_a_mean_of_zero() -> None:
    assert SampleSums().mean("cpu_pct") == 0.0
