"""Resource and database samples of workers on the wire."""

from __future__ import annotations

from marshmallow.fields import List, Nested
from marshmallow.validate import OneOf

from flask_forge_jobs.api.schemas.fields import (
    Fraction,
    Instant,
    Text,
    WholeNumber,
    WireSchema,
)
from flask_forge_jobs.api.schemas.series import WindowQuery


class ResourceBucket(WireSchema):
    """What a worker used within one bucket."""

    at = Instant()
    cpu_pct = Fraction(allow_none=True)
    rss_bytes = WholeNumber(allow_none=True)
    disk_read_bytes = WholeNumber(allow_none=True)
    disk_write_bytes = WholeNumber(allow_none=True)
    disk_used_pct = Fraction(allow_none=True)


class ResourceSeries(WireSchema):
    """What one worker used."""

    worker_id = Text(data_key="host")
    buckets = List(Nested(ResourceBucket))


class DbHealthBucket(WireSchema):
    """How the database performed within one bucket."""

    at = Instant()
    read_p50_ms = WholeNumber(allow_none=True)
    read_p95_ms = WholeNumber(allow_none=True)
    read_p99_ms = WholeNumber(allow_none=True)
    reads_per_min = WholeNumber(allow_none=True)
    write_p50_ms = WholeNumber(allow_none=True)
    write_p95_ms = WholeNumber(allow_none=True)
    write_p99_ms = WholeNumber(allow_none=True)
    writes_per_min = WholeNumber(allow_none=True)
    pool_active = WholeNumber(allow_none=True)
    pool_idle = WholeNumber(allow_none=True)
    pool_max = WholeNumber(allow_none=True)
    pool_used_pct = Fraction(allow_none=True)
    db_size_bytes = WholeNumber(allow_none=True)
    wal_bytes = WholeNumber(allow_none=True)


class DbHealthSeries(WireSchema):
    """How the database performed for one worker."""

    worker_id = Text(data_key="host")
    buckets = List(Nested(DbHealthBucket))


class SamplesQuery(WindowQuery):
    """Arguments of the handlers in :mod:`flask_forge_jobs.handlers.samples`."""

    worker_id = Text(data_key="host", load_default=None)
    gaps = Text(load_default=None, validate=OneOf(["null"]))
