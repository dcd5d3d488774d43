from __future__ import annotations

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.schemas.series import (
    MAX_SECONDS,
    DbHealthBucketSchema,
    MetricSeriesBucketSchema,
    ResourceBucketSchema,
    SamplesQuerySchema,
    SeriesQuerySchema,
    TimelineBucketSchema,
    TimelineQuerySchema,
)

WINDOW = {"from": "2026-09-16T09:00:00Z", "to": "2026-09-16T10:00:00Z"}


def test_the_keys_of_a_bucket_come_in_the_order_of_the_contract() -> None:
    assert list(TimelineBucketSchema().dump_fields) == [
        "at",
        "enqueued",
        "started",
        "retried",
        "completed",
        "failed",
        "processing_p50_ms",
        "processing_p95_ms",
        "processing_p99_ms",
        "total_p50_ms",
        "total_p95_ms",
        "total_p99_ms",
    ]
    assert list(MetricSeriesBucketSchema().dump_fields) == [
        "at",
        "enqueued",
        "completed",
        "failed",
        "proc_p50_ms",
        "proc_p95_ms",
        "proc_p99_ms",
        "total_p50_ms",
        "total_p95_ms",
        "total_p99_ms",
    ]


@pytest.mark.parametrize("secs", ["0", "60", str(MAX_SECONDS)])
def test_a_width_has_thirty_two_bits(secs: str) -> None:
    assert TimelineQuerySchema().load({**WINDOW, "bucket_secs": secs})[
        "bucket_secs"
    ] == int(secs)


@pytest.mark.parametrize("secs", ["-1", "1.5", "", str(MAX_SECONDS + 1), "9" * 30])
def test_another_width_is_refused(secs: str) -> None:
    with pytest.raises(ValidationError, match="from 0 to 4294967295"):
        TimelineQuerySchema().load({**WINDOW, "bucket_secs": secs})


def test_a_series_is_by_queue_or_by_kind() -> None:
    with pytest.raises(ValidationError, match="by"):
        SeriesQuerySchema().load({**WINDOW, "bucket_secs": "60", "by": "status"})


def test_the_keys_of_a_sample_come_in_the_order_of_the_contract() -> None:
    assert ",".join(ResourceBucketSchema().dump_fields) == (
        "at,cpu_pct,rss_bytes,disk_read_bytes,disk_write_bytes,disk_used_pct"
    )
    assert ",".join(DbHealthBucketSchema().dump_fields) == (
        "at,read_p50_ms,read_p95_ms,read_p99_ms,reads_per_min,write_p50_ms,"
        "write_p95_ms,write_p99_ms,writes_per_min,pool_active,pool_idle,pool_max,"
        "pool_used_pct,db_size_bytes,wal_bytes"
    )


def test_gaps_may_only_be_null() -> None:
    window = {
        "from": "2026-09-16T09:00:00Z",
        "to": "2026-09-16T10:00:00Z",
        "bucket_secs": "60",
    }

    assert SamplesQuerySchema().load({**window, "gaps": "null"})["gaps"] == "null"
    with pytest.raises(ValidationError, match="gaps"):
        SamplesQuerySchema().load({**window, "gaps": "0"})
