"""Charts of all jobs and of one queue."""

from __future__ import annotations

from flask import Response
from marshmallow.fields import List, Nested

from flask_forge_jobs.api.context import Api
from flask_forge_jobs.api.response import writer, written_array_response
from flask_forge_jobs.api.routes import Reach, Route
from flask_forge_jobs.api.schemas.series import (
    MetricSeriesBucket,
    MetricSeriesQuery,
    TimelineBucket,
    TimelineQuery,
)
from flask_forge_jobs.auth.permissions import Permission
from flask_forge_jobs.handlers import series

_WRITE_BUCKET = writer(TimelineBucket())
_WRITE_SERIES_BUCKET = writer(MetricSeriesBucket())
_TIMELINE_QUERY = TimelineQuery()
_METRIC_SERIES_QUERY = MetricSeriesQuery()


def timeline(api: Api) -> Response:
    """Return event counts and latency percentiles per bucket of a window."""
    query = api.query(_TIMELINE_QUERY)
    queue = query.pop("queue")
    query["queue_names"] = api.scope.names([queue] if queue else [])
    buckets = series.timeline(api.storage, now=api.now, **query)
    return written_array_response([_WRITE_BUCKET(bucket) for bucket in buckets])


def metric_series(api: Api) -> Response:
    """Return throughput and latency of one queue per bucket of a window."""
    query = api.query(_METRIC_SERIES_QUERY)
    api.scope.require(query["queue"])
    buckets = series.metric_series(api.storage, now=api.now, **query)
    return written_array_response([_WRITE_SERIES_BUCKET(bucket) for bucket in buckets])


ROUTES = (
    Route(
        method="GET", path="/queue/timeline", endpoint="queue_timeline", view=timeline,
        permission=Permission.READ, reach=Reach.VIEW, query=_TIMELINE_QUERY,
        answer=List(Nested(TimelineBucket)),
    ),
    Route(
        method="GET", path="/queue/metric-series", endpoint="queue_metric_series",
        view=metric_series, permission=Permission.READ, reach=Reach.VIEW,
        query=_METRIC_SERIES_QUERY, answer=List(Nested(MetricSeriesBucket)),
        errors=(404,),
    ),
)  # fmt: skip
