"""Charts: of all jobs, of one queue, of workers and of their database."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import writer, written_array_response
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas import series as schemas
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import samples, series

_WRITE_BUCKET = writer(schemas.TimelineBucketSchema())
_WRITE_SERIES_BUCKET = writer(schemas.MetricSeriesBucketSchema())
_SAMPLES_QUERY = schemas.SamplesQuerySchema()


def timeline(api: Api) -> Response:
    """Return event counts and latency percentiles per bucket of a window."""
    query = api.query()
    queue = query.pop("queue")
    query["queue_names"] = api.scope.names([queue] if queue else [])
    buckets = series.timeline(api.storage, now=api.now, **query)
    return written_array_response([_WRITE_BUCKET(bucket) for bucket in buckets])


def metric_series(api: Api) -> Response:
    """Return throughput and latency of one queue per bucket of a window."""
    query = api.query()
    api.scope.require(query["queue"])
    buckets = series.metric_series(api.storage, now=api.now, **query)
    return written_array_response([_WRITE_SERIES_BUCKET(bucket) for bucket in buckets])


def resource_series(api: Api) -> Response:
    """Return CPU, memory and disk use of each worker over time."""
    return _samples(api, samples.ResourceBucket)


def db_series(api: Api) -> Response:
    """Return latency, throughput and size of the database, per worker."""
    return _samples(api, samples.DbHealthBucket)


def _samples(api: Api, bucket_type: type[samples.B]) -> Response:
    query = api.query()
    series = samples.worker_series(api.storage, bucket_type, now=api.now, **query)
    return api.listing(series)


ROUTES = (
    Route(
        view=timeline, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.TimelineQuerySchema(),
        answer=List(Nested(schemas.TimelineBucketSchema)),
    ),
    Route(
        view=metric_series, permission=Permission.READ, reach=Reach.VIEW,
        query=schemas.MetricSeriesQuerySchema(),
        answer=List(Nested(schemas.MetricSeriesBucketSchema)), errors=(404,),
    ),
    Route(
        view=resource_series, permission=Permission.READ, query=_SAMPLES_QUERY,
        answer=List(Nested(schemas.ResourceSeriesSchema)), tag="samples",
    ),
    Route(
        view=db_series, permission=Permission.READ, query=_SAMPLES_QUERY,
        answer=List(Nested(schemas.DbHealthSeriesSchema)), tag="samples",
    ),
)  # fmt: skip
