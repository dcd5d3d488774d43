"""Token buckets on the wire."""

from __future__ import annotations

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
