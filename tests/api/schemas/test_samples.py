from __future__ import annotations

import pytest
from marshmallow import ValidationError

from flask_forge_jobs.api.schemas.samples import (
    DbHealthBucket,
    ResourceBucket,
    SamplesQuery,
)


def test_the_keys_of_a_bucket_come_in_the_order_of_the_contract() -> None:
    assert ",".join(ResourceBucket().dump_fields) == (
        "at,cpu_pct,rss_bytes,disk_read_bytes,disk_write_bytes,disk_used_pct"
    )
    assert ",".join(DbHealthBucket().dump_fields) == (
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

    assert SamplesQuery().load({**window, "gaps": "null"})["gaps"] == "null"
    with pytest.raises(ValidationError, match="gaps"):
        SamplesQuery().load({**window, "gaps": "0"})
