"""Gauges of queues on the wire."""

from __future__ import annotations

from marshmallow.fields import List

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    Array,
    Digits,
    Fraction,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
)
from flask_forge_jobs.api.schemas.series import MAX_SECONDS
from flask_forge_jobs.handlers.series import MAX_NAMES


class GaugeSeriesSchema(V1Schema):
    """The buckets of one queue; null where nothing was measured.

    The empty name stands for all queues together.
    """

    name = Text()
    start = Instant(data_key="from")
    bucket_secs = WholeNumber(is_signed=False)
    waiting = List(Fraction(allow_none=True))
    oldest_wait_s = List(WholeNumber(allow_none=True), data_key="oldest_wait_seconds")
    running = List(Fraction(allow_none=True))
    free_slots = List(Fraction(allow_none=True))
    live_workers = List(Fraction(allow_none=True))


class GaugesQuerySchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.gauges.gauges`."""

    names = Array(
        Text(), data_key="name", load_default=(), metadata=bounds.items(MAX_NAMES)
    )
    start = Instant(data_key="from", required=True)
    end = Instant(data_key="to", required=True)
    bucket_secs = Digits(maximum=MAX_SECONDS, required=True)
