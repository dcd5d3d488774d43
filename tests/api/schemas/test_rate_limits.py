from __future__ import annotations

from flask_forge_jobs.api.response import dumper, encode
from flask_forge_jobs.api.schemas.rate_limits import (
    RateLimitRequestSchema,
    RateLimitSchema,
)
from flask_forge_jobs.model import limits as model


def test_a_bucket_shows_the_tokens_it_has_now() -> None:
    bucket = model.RateLimit("api", 10, 2.0, 1.0, 120_000, 1_120_000)

    assert encode(dumper(RateLimitSchema())(bucket)).decode() == (
        '{"scope":"api","capacity":10,"refill_per_sec":2.0,"tokens":3.0,'
        '"last_refilled_at":"1970-01-01T00:00:00.120Z"}'
    )


def test_a_whole_number_is_a_rate() -> None:
    assert RateLimitRequestSchema().load({"capacity": 1, "refill_per_sec": 2}) == {
        "capacity": 1,
        "refill_per_sec": 2.0,
    }
