"""Token buckets: list, change, drain, delete."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import empty_response, truncated
from flask_forge_jobs.api.routes import Route
from flask_forge_jobs.api.schemas.rate_limits import (
    RateLimitRequestSchema,
    RateLimitSchema,
)
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import rate_limits

_RATE_LIMIT = RateLimitSchema()


def list_all(api: Api) -> Response:
    """Return the rate limits, up to 1,000, with their current tokens."""
    buckets, total = rate_limits.list_all(api.storage)
    response = api.listing(buckets, total)
    return truncated(response, is_whole=len(buckets) >= total)


def get(api: Api, scope: str) -> Response:
    """Return one rate limit with its current tokens."""
    return api.answer(rate_limits.get(api.storage, scope))


def put(api: Api, scope: str) -> Response:
    """Create or change a rate limit; its tokens are cut to the new capacity."""
    bucket = rate_limits.put(api.storage, scope, **api.body())
    return api.answer(bucket)


def drain(api: Api, scope: str) -> Response:
    """Take all tokens of a rate limit."""
    return api.answer(rate_limits.drain(api.storage, scope))


def delete(api: Api, scope: str) -> Response:
    """Delete a rate limit."""
    rate_limits.delete(api.storage, scope)
    return empty_response(204)


ROUTES = (
    Route(
        view=list_all, permission=Permission.READ, answer=List(Nested(RateLimitSchema)),
        gives=("X-Result-Truncated",),
    ),
    Route(view=get, permission=Permission.READ, answer=_RATE_LIMIT, errors=(404,)),
    Route(
        view=put, permission=Permission.LIMITS_EDIT, body=RateLimitRequestSchema(),
        answer=_RATE_LIMIT,
    ),
    Route(
        view=drain, permission=Permission.LIMITS_EDIT, answer=_RATE_LIMIT,
        errors=(404,),
    ),
    Route(view=delete, permission=Permission.LIMITS_EDIT, status=204, errors=(404,)),
)  # fmt: skip
