"""Limits on the wire: token buckets, and concurrency keys with their holders."""

from __future__ import annotations

from marshmallow.fields import List, Nested

from flask_forge_jobs.api.schemas import bounds
from flask_forge_jobs.api.schemas.fields import (
    Fraction,
    Instant,
    Text,
    V1Schema,
    WholeNumber,
)


class RateLimitSchema(V1Schema):
    """One bucket with its current tokens."""

    scope = Text()
    capacity = WholeNumber()
    refill_per_sec = Fraction()
    tokens = Fraction()
    last_refilled_at = Instant()


class RateLimitRequestSchema(V1Schema):
    """Arguments of :func:`flask_forge_jobs.handlers.rate_limits.put`."""

    capacity = WholeNumber(required=True, metadata=bounds.CAPACITY)
    refill_per_sec = Fraction(required=True, metadata=bounds.REFILL_PER_SEC)


class HolderSchema(V1Schema):
    """A running job within a limit."""

    id = Text()
    queue_name = Text()
    kind = Text()
    started_at = Instant(attribute="since", allow_none=True)
    worker_id = Text(allow_none=True)


class HeldKeySchema(V1Schema):
    """A key with the jobs that hold it, the longest first, and those that wait."""

    key = Text()
    holders = List(Nested(HolderSchema))
    waiting = WholeNumber()
