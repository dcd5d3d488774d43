"""Charts on the wire: of jobs, of one queue, of workers and of their database."""

from __future__ import annotations

from marshmallow.fields import List, Nested
from marshmallow.validate import OneOf

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    Array,
    Digits,
    Fraction,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
    WireSchema,
)
from flask_forge_jobs.handlers.series import MAX_NAMES

MAX_SECONDS = 2**32 - 1


class TimelineBucketSchema(WireSchema):
    """One bucket of the timeline, in the reference's words."""

    at = Instant()
    enqueued = WholeNumber()
    started = WholeNumber()
    retried = WholeNumber()
    completed = WholeNumber()
    failed = WholeNumber()
    processing_p50_ms = WholeNumber(attribute="run_p50_ms")
    processing_p95_ms = WholeNumber(attribute="run_p95_ms")
    processing_p99_ms = WholeNumber(attribute="run_p99_ms")
    total_p50_ms = WholeNumber()
    total_p95_ms = WholeNumber()
    total_p99_ms = WholeNumber()


class MetricSeriesBucketSchema(WireSchema):
    """One bucket of a queue, in the reference's words."""

    at = Instant()
    enqueued = WholeNumber()
    completed = WholeNumber()
    failed = WholeNumber()
    proc_p50_ms = WholeNumber(attribute="run_p50_ms")
    proc_p95_ms = WholeNumber(attribute="run_p95_ms")
    proc_p99_ms = WholeNumber(attribute="run_p99_ms")
    total_p50_ms = WholeNumber()
    total_p95_ms = WholeNumber()
    total_p99_ms = WholeNumber()


class SeriesBucketSchema(WireSchema):
    """One bucket of a queue or kind."""

    at = Instant()
    enqueued = WholeNumber()
    completed = WholeNumber()
    dead = WholeNumber()
    run_p50_ms = WholeNumber()
    run_p95_ms = WholeNumber()
    run_p99_ms = WholeNumber()
    total_p50_ms = WholeNumber()
    total_p95_ms = WholeNumber()
    total_p99_ms = WholeNumber()
    cancelled = WholeNumber()
    started = WholeNumber()
    retried = WholeNumber()
    wait_p50_ms = WholeNumber()
    wait_p95_ms = WholeNumber()
    wait_p99_ms = WholeNumber()


class NamedSeriesSchema(WireSchema):
    """The buckets of one queue or kind."""

    name = Text()
    buckets = List(Nested(SeriesBucketSchema))


class KindRowSchema(WireSchema):
    """The totals of one kind within a window."""

    kind = Text()
    completed = WholeNumber()
    dead = WholeNumber()
    retried = WholeNumber()
    total_run_ms = WholeNumber()
    p50_ms = WholeNumber()
    p95_ms = WholeNumber()
    p99_ms = WholeNumber()
    cancelled = WholeNumber()
    started = WholeNumber()
    success_rate = Fraction(allow_none=True)
    usual_run_ms = WholeNumber(allow_none=True)


class WindowQuerySchema(WireSchema):
    """A window and the width of its buckets."""

    start = Instant(data_key="from", required=True)
    end = Instant(data_key="to", required=True)
    bucket_secs = Digits(maximum=MAX_SECONDS, required=True)


class TimelineQuerySchema(WindowQuerySchema):
    """Arguments of :func:`flask_forge_jobs.handlers.series.timeline`."""

    queue = Text(load_default=None)
    kind = Text(load_default=None)


class MetricSeriesQuerySchema(WindowQuerySchema):
    """Arguments of :func:`flask_forge_jobs.handlers.series.metric_series`."""

    queue = Text(required=True)


class SeriesQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.series.series`."""

    by = Text(required=True, validate=OneOf(["queue", "kind"]))
    names = Array(
        Text(), data_key="name", load_default=(), metadata=bounds.items(MAX_NAMES)
    )
    start = Instant(data_key="from", required=True)
    end = Instant(data_key="to", required=True)
    bucket_secs = Digits(maximum=MAX_SECONDS, required=True)


class KindTotalsQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.series.kinds`."""

    start = Instant(data_key="from", load_default=None)
    end = Instant(data_key="to", load_default=None)
    queue = Text(load_default=None)


class ResourceBucketSchema(WireSchema):
    """The resources of a worker within one bucket."""

    at = Instant()
    cpu_pct = Fraction(allow_none=True)
    rss_bytes = WholeNumber(allow_none=True)
    disk_read_bytes = WholeNumber(allow_none=True)
    disk_write_bytes = WholeNumber(allow_none=True)
    disk_used_pct = Fraction(allow_none=True)


class ResourceSeriesSchema(WireSchema):
    """The resources of one worker."""

    worker_id = Text(data_key="host")
    buckets = List(Nested(ResourceBucketSchema))


class DbHealthBucketSchema(WireSchema):
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


class DbHealthSeriesSchema(WireSchema):
    """How the database performed for one worker."""

    worker_id = Text(data_key="host")
    buckets = List(Nested(DbHealthBucketSchema))


class SamplesQuerySchema(WindowQuerySchema):
    """Arguments of the handlers in :mod:`flask_forge_jobs.handlers.samples`."""

    worker_id = Text(data_key="host", load_default=None)
    gaps = Text(load_default=None, validate=OneOf(["null"]))
