"""Charts of several queues or kinds, and the table of kinds."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import (
    encode,
    encoded_array_response,
    truncated,
    writer,
)
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import series as schemas
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import series
from flask_forge_jobs.handlers.jobs import MAX_KINDS
from flask_forge_jobs.handlers.series import Series

_BUCKET = writer(schemas.SeriesBucketSchema())


def write_series(series: Series) -> bytes:
    """Return the JSON of one series, in half the time of its schema."""
    buckets = ",".join(map(_BUCKET, series.buckets)).encode()
    return b'{"name":%b,"buckets":[%b]}' % (encode(series.name), buckets)


def list_series(api: Api) -> Response:
    """Return throughput and latency of several queues or kinds."""
    query = api.query()
    if query["by"] == "queue":
        api.scope.names(query["names"])
    query["queue_names"] = api.scope.names()
    listing = series.series(api.storage, now=api.now, **query)
    parts = api.composer.compose(listing.series, write_series)
    return encoded_array_response(parts, listing.total)


def list_kinds(api: Api) -> Response:
    """Return the totals of each kind within a window, by default the last day."""
    query = api.query()
    queue = query.pop("queue")
    query["queue_names"] = api.scope.names([queue] if queue else [])
    totals = series.kinds(api.storage, now=api.now, **query)
    response = api.listing(totals[:MAX_KINDS], len(totals))
    return truncated(response, is_whole=len(totals) <= MAX_KINDS)


ROUTES = (
    Route(
        view=list_series, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.SeriesQuerySchema(),
        answer=List(Nested(schemas.NamedSeriesSchema)), gives=("X-Result-Truncated",),
    ),
    Route(
        view=list_kinds, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.KindTotalsQuerySchema(),
        answer=List(Nested(schemas.KindRowSchema)), gives=("X-Result-Truncated",),
    ),
)  # fmt: skip
